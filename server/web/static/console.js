// SPDX-License-Identifier: AGPL-3.0-or-later
// The console keeps itself up to date: server-sent events say what changed, the changed parts are fetched as the server
// renders them and put in place one by one, so that scroll, focus and half-filled forms stay. Without live connection it polls.
import { now, setNow, tick } from "./clocks.js";
import * as map from "./map.js";
import { alarm } from "./alarm.js";

const words = JSON.parse(document.getElementById("words").textContent);
const POLL_S = 5;
const SILENCE_S = 40; // the server speaks at least every 15 s
const link = document.getElementById("link");
const list = document.getElementById("list");
const detail = document.getElementById("detail");
let versions = "";
let cameraStates = "";
let heard = Date.now();
let polling = false;
let known = new Set();
const mute = document.getElementById("mute");
const clock = document.getElementById("now");

setNow(document.body.dataset.now);

const chosen = () => detail.querySelector("[data-code]")?.dataset.code ?? null;
const show = () => new URLSearchParams(location.search).get("show") ?? "live";

/** Make the keyed children of `into` those of `from`: unchanged ones (same version) are left alone. */
function patch(into, from) {
  const old = new Map([...into.children].filter((one) => one.dataset.key).map((one) => [one.dataset.key, one]));
  let place = into.firstElementChild;
  for (const fresh of [...from.children]) {
    const key = fresh.dataset.key;
    let node = key ? old.get(key) : null;
    if (node && node.dataset.version === fresh.dataset.version) old.delete(key);
    else {
      const focus = node?.contains(document.activeElement) ? document.activeElement.id || node.id : null;
      if (node) {
        carry(node, fresh);
        old.delete(key);
        if (node === place) place = place.nextElementSibling;
        node.remove();
      }
      node = fresh;
      if (focus) queueMicrotask(() => document.getElementById(focus)?.focus({ preventScroll: true }));
    }
    if (node === place) place = place.nextElementSibling;
    else into.insertBefore(node, place);
  }
  for (const gone of old.values()) gone.remove();
}

/** What is open and typed in the old goes on in the new: the same steps, with their own words. */
function carry(old, fresh) {
  for (const form of old.querySelectorAll("form[data-answer]")) {
    const twin = [...fresh.querySelectorAll("form[data-answer]")].find(
      (one) => one.event.value === form.event.value && one.answers?.value === form.answers?.value,
    );
    if (!twin) continue;
    for (const field of form.querySelectorAll("[name=note], select")) twin.elements[field.name].value = field.value;
    for (const field of form.querySelectorAll("input:checked"))
      for (const one of twin.querySelectorAll("input[type=radio]")) one.checked ||= one.value === field.value;
    const sheet = twin.closest("details");
    if (sheet && form.closest("details").open) sheet.open = true;
  }
}

async function part(path) {
  const reply = await fetch(path, { headers: { Accept: "text/html" }, cache: "no-store" });
  if (reply.redirected || reply.status === 401) location.reload();
  if (!reply.ok) return null;
  const holder = document.createElement("template");
  holder.innerHTML = await reply.text();
  return holder.content;
}

async function refreshList() {
  const fresh = await part(`/console/part/list?show=${show()}`);
  if (!fresh) return;
  setNow(fresh.querySelector(".rows").dataset.now);
  patch(list.querySelector(".rows"), fresh.querySelector(".rows"));
  const tabs = list.querySelector(".tabs");
  if (tabs.dataset.version !== show()) tabs.replaceWith(fresh.querySelector(".tabs"));
  document.getElementById("tallies").replaceChildren(fresh.querySelector("[data-tallies]").content);
  settle();
}

async function refreshDetail(code) {
  if (!code) return;
  const fresh = await part(`/console/part/incident/${code}`);
  const article = fresh?.querySelector("article");
  if (!article) return;
  const shown = detail.querySelector("article");
  if (shown?.dataset.code !== code) {
    detail.replaceChildren(article);
    document.getElementById("pane").scrollTop = 0;
  } else {
    patch(shown, article);
    [shown.dataset.seq, shown.className] = [article.dataset.seq, article.className];
  }
  settle();
}

/** After any change: marks, title, map, clocks. */
function settle() {
  const code = chosen();
  for (const row of list.querySelectorAll(".row")) {
    if (row.dataset.code === code) row.setAttribute("aria-current", "true");
    else row.removeAttribute("aria-current");
  }
  tick(words);
  const late = list.querySelectorAll(".row.is-over:not(.is-ended)").length;
  document.title = late ? `(${late}) ${words.title}` : words.title;
  map.draw([...list.querySelectorAll(".row")], code);
}

async function take(state) {
  heard = Date.now();
  setNow(state.now);
  const told = JSON.stringify(state.incidents);
  const cameras = JSON.stringify(state.cameras);
  const first = versions === "";
  const code = chosen();
  const mine = state.incidents.find((one) => one[0] === code);
  const stale = mine && String(mine[2]) !== detail.querySelector("[data-code]").dataset.seq;
  if (!first) listenFor(state.incidents);
  known = new Set(state.incidents.map(([code]) => code));
  if (told !== versions || cameras !== cameraStates) {
    [versions, cameraStates] = [told, cameras];
    if (!first || listIsOld(state.incidents)) await refreshList();
    map.cameras();
  }
  if (stale) await refreshDetail(code);
}

/** A new fire sounds, unless this screen is muted. */
function listenFor(incidents) {
  if (mute.getAttribute("aria-pressed") === "false" && incidents.some(([code]) => !known.has(code))) alarm();
}

mute.addEventListener("click", () => {
  const off = mute.getAttribute("aria-pressed") === "false";
  mute.setAttribute("aria-pressed", off);
  localStorage.setItem("straw1530.mute", off);
});
mute.setAttribute("aria-pressed", localStorage.getItem("straw1530.mute") === "true");
mute.hidden = false;

function listIsOld(incidents) {
  return incidents.some(([code, , seq]) => !list.querySelector(`#row-${code}[data-version^="${seq}-"]`));
}

function say(kind) {
  link.className = `link ${kind}`;
  link.textContent = link.dataset[kind];
}

function listen() {
  const source = new EventSource("/api/v1/events");
  source.addEventListener("state", (event) => {
    polling = false;
    say("live");
    take(JSON.parse(event.data)).catch(() => say("lost"));
  });
  source.addEventListener("bye", () => {
    source.close();
    location.reload();
  });
  source.onerror = () => {
    say("lost");
    polling = true;
    // Refused (all live places taken): EventSource gives up for good, polling goes on and tries it again later.
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 60_000);
  };
}

async function poll() {
  if (!polling && Date.now() - heard < SILENCE_S * 1000) return;
  try {
    const reply = await fetch("/api/v1/state", { cache: "no-store" });
    if (reply.status === 401) return location.reload();
    await take(await reply.json());
    say("polling");
  } catch {
    say("lost");
  }
}

async function choose(code, push = true) {
  if (push) history.pushState({}, "", `/console/${code ?? ""}${location.search}`.replace(/\/(?=\?|$)/, ""));
  if (code) await refreshDetail(code);
  else location.assign(`/console${location.search}`);
}

async function submit(event) {
  const form = event.target.closest("form[data-answer]");
  if (!form) return;
  event.preventDefault();
  const button = event.submitter ?? form.querySelector("button");
  button.disabled = true;
  const fields = { ...Object.fromEntries(new FormData(form)), incident: chosen(), at: new Date().toISOString() };
  let text = words.failed;
  try {
    const reply = await fetch("/api/v1/answers", {
      method: "POST",
      headers: {
        "Content-Type": "application/json",
        Accept: "application/json",
        "X-CSRFToken": document.querySelector('meta[name="csrf-token"]').content,
      },
      body: JSON.stringify(fields),
    });
    if (reply.ok) text = null;
    else text = (await reply.json()).message ?? text;
  } catch {
    // the form keeps its id: sending it again cannot do it twice
  }
  button.disabled = false;
  const error = detail.querySelector(".action-error");
  error.hidden = text === null;
  error.textContent = text ?? "";
  if (text !== null) return;
  form.reset();
  form.closest("details")?.removeAttribute("open");
  form.closest("[data-key]").dataset.version = ""; // its id is used up: a new form comes
  await Promise.all([refreshDetail(chosen()), refreshList()]);
}

document.addEventListener("submit", submit);
document.addEventListener("click", (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  const row = event.target.closest(".row");
  const tab = event.target.closest(".tabs a");
  if (row) {
    event.preventDefault();
    // By keyboard (a click without a pointer) the reader goes on in the pane.
    choose(row.dataset.code).then(() => event.detail === 0 && detail.querySelector("h2")?.focus());
  } else if (tab) {
    event.preventDefault();
    history.pushState({}, "", `${location.pathname}?show=${tab.dataset.show}`);
    refreshList();
  }
});
addEventListener("popstate", () => {
  const code = location.pathname.split("/")[2];
  if (code) choose(code, false);
  else location.reload();
  refreshList();
});

setInterval(() => {
  tick(words);
  clock.textContent = new Date(now()).toLocaleTimeString("zh-CN", { timeZone: clock.dataset.zone, hour12: false });
}, 500);
setInterval(poll, POLL_S * 1000);
map.start(words, choose);
settle();
listen();
