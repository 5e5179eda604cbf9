// SPDX-License-Identifier: AGPL-3.0-or-later
// Answers are written down on the phone first and sent second. Each carries an id minted once, so that sending it again
// changes nothing; it leaves the phone's store only when the server has confirmed or refused it.

const STORE = `straw1530.answers.${document.body.dataset.person}`;
const RETRY_S = [2, 5, 10, 20, 30];
let memory = null; // used when the phone's store is full or forbidden
let busy = false;
let failures = 0;
let timer = 0;
let report = () => {};

/** An id for an answer; phones on plain http have no randomUUID. */
export function mint() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** Answers not yet confirmed, oldest first. */
export function waiting() {
  if (memory) return memory;
  try {
    return JSON.parse(localStorage.getItem(STORE) || "[]");
  } catch {
    return [];
  }
}

function keep(list) {
  if (!memory) {
    try {
      localStorage.setItem(STORE, JSON.stringify(list));
      return true;
    } catch {
      memory = list;
      return false;
    }
  }
  memory = list;
  return false;
}

/** Write an answer down. Tapping the same step of the same incident again while it waits adds nothing.
 *  Returns whether it is safe in the phone's store. */
export function add(answer) {
  const list = waiting();
  if (list.some((one) => one.incident === answer.incident && one.event === answer.event)) return true;
  return keep([...list, answer]);
}

/** Add what became known later (a position) to an answer that still waits. */
export function amend(id, fields) {
  keep(waiting().map((one) => (one.id === id ? { ...one, ...fields } : one)));
}

/** Called with (kind, answer, detail): "sending", "part", "waiting", "done", "refused", "login". */
export function onReport(listener) {
  report = listener;
}

/** Send what waits, in order; keeps trying while the signal is poor. */
export async function flush() {
  if (busy) return;
  busy = true;
  clearTimeout(timer);
  try {
    for (let answer = waiting()[0]; answer; answer = waiting()[0]) {
      report("sending", answer);
      if (!(await settle(answer, await post(answer)))) break;
    }
  } finally {
    busy = false;
  }
}

/** Act on the server's word; true when the next answer may be sent. */
async function settle(answer, reply) {
  if (reply.status >= 200 && reply.status < 300) {
    failures = 0;
    drop(answer);
    report("done", answer, reply.body);
    return true;
  }
  if (reply.status === 401) {
    report("login", answer);
    return false;
  }
  if (reply.body?.code === "csrf") await renewToken();
  const refused = reply.status >= 400 && reply.status < 500 && reply.body?.code && ![408, 429].includes(reply.status);
  if (refused && reply.body.code !== "csrf") {
    drop(answer);
    report("refused", answer, reply.body);
    return true;
  }
  report("waiting", answer, reply);
  timer = setTimeout(flush, 1000 * RETRY_S[Math.min(failures++, RETRY_S.length - 1)]);
  return false;
}

function drop(answer) {
  keep(waiting().filter((one) => one.id !== answer.id));
}

function post(answer) {
  const { photo, ...fields } = answer;
  const request = new XMLHttpRequest();
  request.open("POST", "/api/v1/answers");
  request.timeout = photo ? 120_000 : 15_000;
  request.setRequestHeader("X-CSRFToken", document.querySelector('meta[name="csrf-token"]').content);
  request.setRequestHeader("Accept", "application/json");
  let body = JSON.stringify(fields);
  if (photo) {
    body = new FormData();
    for (const [name, value] of Object.entries(fields)) if (value != null) body.append(name, value);
    body.append("photo", blobOf(photo), "photo.jpg");
    request.upload.onprogress = (event) =>
      event.lengthComputable && report("part", answer, Math.round((100 * event.loaded) / event.total));
  } else {
    request.setRequestHeader("Content-Type", "application/json");
  }
  return new Promise((resolve) => {
    request.onload = () => resolve({ status: request.status, body: parsed(request.responseText) });
    request.onerror = request.ontimeout = request.onabort = () => resolve({ status: 0, body: null });
    request.send(body);
  });
}

async function renewToken() {
  try {
    const me = await (await fetch("/api/v1/me", { cache: "no-store" })).json();
    document.querySelector('meta[name="csrf-token"]').content = me.csrf_token;
  } catch {
    // no signal: the retry comes anyway
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function blobOf(dataUrl) {
  const [head, data] = dataUrl.split(",");
  const bytes = Uint8Array.from(atob(data), (char) => char.charCodeAt(0));
  return new Blob([bytes], { type: head.slice(5, head.indexOf(";")) });
}

/** A photograph as a JPEG data URL of at most `longest` pixels on its longer side. Throws when it cannot be read. */
export async function shrink(file, longest = 1600, quality = 0.82) {
  const image = await createImageBitmap(file, { imageOrientation: "from-image" });
  const scale = Math.min(1, longest / Math.max(image.width, image.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(image.width * scale);
  canvas.height = Math.round(image.height * scale);
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  image.close();
  return canvas.toDataURL("image/jpeg", quality);
}

addEventListener("online", () => flush());
document.addEventListener("visibilitychange", () => document.hidden || flush());
