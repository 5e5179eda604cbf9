// SPDX-License-Identifier: AGPL-3.0-or-later
// Clocks that run on the server's time: the page learns how far this device is off and corrects for it.

let skew = 0; // server minus device, milliseconds

/** The server's time now, in milliseconds. */
export const now = () => Date.now() + skew;

/** Learn the server's time from a page or message received just now. */
export function setNow(iso) {
  if (iso) skew = Date.parse(iso) - Date.now();
}

/** 4:05 or 1:02:33. */
export function span(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const pad = (n) => String(n).padStart(2, "0");
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h ? `${h}:${pad(m)}:${pad(s)}` : `${m}:${pad(s)}`;
}

/** Bring every running clock below `root` up to date. */
export function tick(words, root = document) {
  const instant = now();
  for (const clock of root.querySelectorAll(".clock[data-due]")) {
    const left = (Date.parse(clock.dataset.due) - instant) / 1000;
    const limit = Number(clock.dataset.limit);
    const over = left < 0;
    clock.classList.toggle("running", !over);
    clock.classList.toggle("broken", over);
    clock.classList.toggle("over", over);
    clock.classList.toggle("soon", !over && left < Math.max(60, limit / 6));
    set(clock.querySelector(".clock-time"), span(over ? -left : Math.ceil(left)));
    set(clock.querySelector(".clock-word"), over ? words.over : words.left);
    const bar = clock.querySelector("progress");
    if (bar) bar.value = over ? limit : limit - left;
    if (over) clock.closest(".card, .incident, .row, .detail")?.classList.add("is-over");
  }
  for (const form of root.querySelectorAll("form[data-until]")) {
    const left = (Date.parse(form.dataset.until) - instant) / 1000;
    if (left <= 0) form.remove();
    else set(form.querySelector("b"), Math.ceil(left));
  }
}

function set(element, text) {
  if (element && element.textContent !== String(text)) element.textContent = text;
}
