// SPDX-License-Identifier: AGPL-3.0-or-later
// The worker's page. Without this script it is plain pages and forms; with it clocks run, answers survive poor signal,
// photographs shrink before they are sent, and the page keeps itself up to date.
import { setNow, tick } from "./clocks.js";
import * as answers from "./answers.js";
import { alarm } from "./alarm.js";

const words = JSON.parse(document.getElementById("words").textContent);
const REFRESH_S = 15;
const RETRY_S = 3; // without signal: not every browser says when it is back
// What the next panel is while an answer waits for signal.
const LEADS_TO = {
  accept: "accepted", set_off: "accepted", arrive: "on_site", start_disposal: "in_hand",
  report_done: "reported", report_false: "reported", transfer: "handed_over",
};
let position = null;
let seen = null; // the last state the server told
let known = null; // the codes of its incidents
let heard = document.body.dataset.kept ?? timeOfDay(); // when the server last spoke
let retry = 0; // the next look of a page without signal
let stale = false; // this page is to be fetched again as soon as nobody is in the middle of something
let photo = null;

document.documentElement.classList.add("js");
// A page from the phone's own store tells an old time: until the server speaks, the phone's clock counts.
if (document.body.dataset.kept === undefined) setNow(document.body.dataset.now);

function timeOfDay() {
  return new Date().toLocaleTimeString("zh-CN", { hour12: false });
}

const say = (text, fields = {}) => text.replace(/\{(\w+)\}/g, (_, name) => fields[name] ?? "");
const page = () => document.querySelector("[data-refresh]");
const code = () => page()?.dataset.code;

function message(id, kind, text, href) {
  const queue = document.getElementById("queue");
  let line = document.getElementById(id);
  if (!line) {
    line = document.createElement("p");
    line.id = id;
    queue.append(line);
  }
  line.className = `message ${kind}`;
  line.textContent = text;
  if (href) {
    const link = document.createElement("a");
    [link.href, link.textContent] = [href, " →"];
    line.append(link);
  }
  return line;
}

answers.onReport((kind, answer, detail) => {
  const id = `answer-${answer.id}`;
  const event = { event: answer.label };
  if (kind === "sending") message(id, "wait", say(words.sending, event));
  if (kind === "part") message(id, "wait", say(words.sendingPart, { part: detail }));
  if (kind === "waiting") message(id, "wait", detail.status ? words.error : say(words.waiting, event));
  if (kind === "login") {
    document.getElementById(id)?.remove();
    loginExpired();
  }
  if (kind === "refused") message(id, "error", `${answer.label}: ${detail.message}`);
  if (kind === "done") {
    const line = message(id, "done", say(words.sent, event));
    setTimeout(() => line.remove(), 4000);
  }
  if (kind === "done" || kind === "refused") refresh();
  else showPanel();
});

/** Fetch the page again and put its body in place; later, when somebody is in the middle of something. */
async function refresh() {
  const here = page();
  if (!here) return;
  stale = document.querySelector("details[name][open], .photo-form.ready") !== null;
  if (stale) return;
  try {
    const reply = await fetch(here.dataset.refresh, { headers: { Accept: "text/html" }, cache: "no-store" });
    if (reply.redirected && new URL(reply.url).pathname === "/login") return;
    if (reply.status === 404) return gone();
    const fresh = new DOMParser().parseFromString(await reply.text(), "text/html");
    const main = fresh.getElementById("main");
    if (!reply.ok || !main || fresh.body.dataset.kept !== undefined) return;
    setNow(fresh.body.dataset.now);
    document.querySelector(".bar").replaceWith(fresh.querySelector(".bar"));
    const open = [...document.querySelectorAll("details[open]")].map((one) => one.className);
    document.getElementById("main").replaceWith(main);
    for (const one of document.querySelectorAll("details.story")) one.open = open.includes("story");
    enhance();
  } catch {
    // no signal: the page stays as it is
  }
}

/** This incident is no longer this person's: nothing here can be answered any more. */
function gone() {
  message("gone", "wait", words.gone, "/w");
  document.getElementById("act")?.remove();
}

async function look() {
  if (document.hidden) return;
  try {
    const reply = await fetch("/api/v1/state", { cache: "no-store" });
    if (reply.status === 401) return loginExpired();
    if (!reply.ok) return unheard();
    const state = await reply.json();
    setNow(state.now);
    heard = timeOfDay();
    for (const line of ["kept", "expired"]) document.getElementById(line)?.remove();
    const mine = code();
    const told = JSON.stringify(mine ? state.incidents.filter((one) => one[0] === mine) : state.incidents);
    const kept = document.body.dataset.kept !== undefined;
    const changed = (seen !== null && seen !== told) || kept;
    if (kept) delete document.body.dataset.kept;
    seen = told;
    const codes = state.incidents.map(([one]) => one);
    if (known && codes.some((one) => !known.has(one))) {
      alarm();
      if (mine) message("another", "error", words.another, "/w");
    }
    known = new Set(codes);
    if (changed || stale) refresh();
    if (answers.waiting().length) answers.flush();
  } catch {
    unheard();
  }
}

/** Without signal the page says how old is what it shows, and goes on trying. */
function unheard() {
  message("kept", "wait", say(words.kept, { at: heard }));
  clearTimeout(retry);
  retry = setTimeout(look, RETRY_S * 1000);
}

function loginExpired() {
  message("expired", "error", words.login, `/login?next=${encodeURIComponent(location.pathname)}`);
}

/** Show the panel for the state this incident will have once the waiting answers have arrived. */
function showPanel() {
  const here = page();
  if (!here?.dataset.code) return;
  const waiting = answers.waiting().filter((one) => one.incident === here.dataset.code);
  const mine = waiting.filter((one) => LEADS_TO[one.event]);
  const state = mine.length ? LEADS_TO[mine.at(-1).event] : here.dataset.state;
  const panels = [...document.querySelectorAll("[data-panel]")];
  for (const panel of panels) panel.hidden = panel.dataset.panel !== state;
  const none = mine.length > 0 && !panels.some((panel) => !panel.hidden);
  const queued = document.getElementById("act-queued");
  if (queued) queued.hidden = !none;
  // What could be taken back is not the last any more.
  for (const undo of here.querySelectorAll("form.undo")) undo.hidden = waiting.length > 0;
}

async function submit(event) {
  const form = event.target.closest("form[data-answer]");
  if (!form) return;
  event.preventDefault();
  const fields = Object.fromEntries(new FormData(form).entries());
  const answer = {
    id: answers.mint(),
    incident: code(),
    event: fields.event,
    label: form.dataset.label || form.querySelector("[data-label]")?.dataset.label || fields.event,
    at: new Date().toISOString(),
    lat: position?.lat ?? null,
    lon: position?.lon ?? null,
    reason: fields.reason || null,
    to: fields.to || null,
    note: fields.note || null,
  };
  if (fields.event === "report_done") {
    if (!photo) return;
    answer.photo = photo;
    form.classList.remove("ready");
  }
  if (!answers.add(answer)) message("full", "error", words.full);
  for (const one of document.querySelectorAll("details[name][open]")) one.open = false;
  showPanel();
  if (fields.event === "arrive" && !position) {
    const found = await locate(6000);
    if (found) answers.amend(answer.id, found);
  }
  answers.flush();
}

async function takePhoto(input) {
  const form = input.closest("form");
  const file = input.files[0];
  if (!file) return;
  const line = message("photo", "wait", words.preparing);
  try {
    photo = await answers.shrink(file);
  } catch {
    photo = null;
    form.classList.remove("ready");
    message("photo", "error", words.unreadable);
    return;
  }
  line.remove();
  const preview = form.querySelector(".preview");
  [preview.src, preview.hidden] = [photo, false];
  form.classList.add("ready");
}

/** The phone's position, or null when it gives none in time. Asks the person only where the caller does. */
function locate(timeout) {
  return new Promise((resolve) => {
    if (!navigator.geolocation) return resolve(null);
    navigator.geolocation.getCurrentPosition(
      (found) => {
        position = { lat: found.coords.latitude, lon: found.coords.longitude };
        showWay();
        resolve(position);
      },
      () => resolve(null),
      { enableHighAccuracy: true, timeout, maximumAge: 30_000 },
    );
  });
}

function showWay() {
  if (!position) return;
  for (const way of document.querySelectorAll(".way[data-lat]")) {
    const [north, east] = metres(position, { lat: +way.dataset.lat, lon: +way.dataset.lon });
    const far = Math.hypot(north, east);
    const bearing = (Math.atan2(east, north) * 180) / Math.PI;
    const distance = far < 1000 ? `${Math.round(far / 10) * 10} m` : `${(far / 1000).toFixed(1)} km`;
    way.querySelector("svg").style.transform = `rotate(${Math.round(bearing)}deg)`;
    way.querySelector("b").textContent = say(words.away, { way: words.compass[Math.round(bearing / 45 + 8) % 8], distance });
    way.hidden = false;
  }
  const map = document.querySelector(".sketch svg");
  if (map) {
    const [north, east] = metres({ lat: +map.dataset.lat, lon: +map.dataset.lon }, position);
    const scale = +map.dataset.perMetre;
    const me = map.querySelector(".me");
    me.setAttribute("transform", `translate(${180 + east * scale} ${120 - north * scale})`);
    me.removeAttribute("hidden");
  }
  document.getElementById("locate")?.remove();
}

function metres(from, to) {
  const degree = 111195;
  return [(to.lat - from.lat) * degree, (to.lon - from.lon) * degree * Math.cos((from.lat * Math.PI) / 180)];
}

// The service worker shows push messages and keeps the last pages; only secure pages (or this machine's own) have one.
const worker = navigator.serviceWorker?.register("/sw.js").catch(() => null);

/** The button that asks for push messages, where they are set up, possible and not on yet. */
async function offerPush() {
  const button = document.getElementById("push");
  const key = document.querySelector('meta[name="push-key"]')?.content;
  const manager = (await worker)?.pushManager;
  if (!button || !key || !manager) return;
  const known = await manager.getSubscription();
  if (known) return tellServer(known);
  button.hidden = false;
  button.onclick = async () => {
    try {
      await tellServer(await manager.subscribe({ userVisibleOnly: true, applicationServerKey: key }));
      button.hidden = true;
      message("push-said", "done", words.pushOn);
    } catch {
      message("push-said", "error", words.pushNo);
    }
  };
}

function tellServer(subscription) {
  return fetch("/api/v1/push", {
    method: "POST",
    headers: {
      "Content-Type": "application/json",
      "X-CSRFToken": document.querySelector('meta[name="csrf-token"]').content,
    },
    body: JSON.stringify(subscription),
  });
}

/** What a fresh page needs. */
function enhance() {
  photo = null;
  const ask = document.getElementById("locate");
  if (ask) {
    ask.hidden = !navigator.geolocation || position !== null;
    ask.onclick = async () => {
      ask.disabled = true;
      if (!(await locate(10_000))) ask.textContent = words.nowhere;
    };
  }
  const toggle = document.getElementById("shot-switch");
  if (toggle) {
    toggle.hidden = false;
    toggle.onclick = () => document.getElementById("shot").classList.toggle("full");
  }
  showWay();
  showPanel();
  offerPush();
  tick(words);
}

document.addEventListener("submit", submit);
document.addEventListener("change", (event) => event.target.name === "photo" && takePhoto(event.target));
setInterval(() => tick(words), 500);
setInterval(look, REFRESH_S * 1000);
addEventListener("online", look);
document.addEventListener("visibilitychange", look);

enhance();
if (document.body.dataset.kept !== undefined) unheard();
look();
answers.flush();
// Only where the person has already allowed it: this page never asks by itself.
navigator.permissions?.query({ name: "geolocation" }).then((state) => state.state === "granted" && locate(10_000));
