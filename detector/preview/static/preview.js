// SPDX-License-Identifier: AGPL-3.0-or-later
// The box's page: asks for the state each second, shows pictures when they change, and draws masks.
"use strict";

const WORDS = {
  clear: "正常 Clear", suspect: "疑似 Suspect", confirmed: "确认烟火 Confirmed", blind: "未监看 Blind",
  day: "白天 Day", night: "夜间 Night", ir: "红外 Infrared",
  exclude: "屏蔽区 Exclude", chimney: "烟囱 Chimney", smoke: "烟 smoke", fire: "火 fire",
  starting: "启动中 starting", stream_down: "视频中断 stream down", frozen: "画面冻结 frozen", dark: "全黑 dark",
  covered: "镜头被遮 covered", blurred: "画面模糊 blurred", moved: "镜头移位 moved", overloaded: "来不及看 overloaded",
  slow: "巡航太慢 patrol too slow", manual: "人工操作 taken by hand", away: "不在此预置位 at another preset",
};
const HINTS = {
  exclude: "依次点击画面圈出区域：一半以上落在里面的目标不算。Click round an area: what lies in it by half or more does not count.",
  chimney: "贴着烟囱口圈出：从这里冒出的烟不算。Click closely round a chimney: smoke that rises from it does not count.",
  sky: "点击画面定天空线：底部在线以上的是云。点最上沿取消。Click a height: what stands above it is cloud. Click the top edge for none.",
};
const SVG = "http://www.w3.org/2000/svg";
const byId = (id) => document.getElementById(id);
const word = (name) => WORDS[name] || name;
let state = null;
let editing = null; // {camera, preset, masks, tool, points}

function element(name, attributes = {}, text = null) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== null) made.textContent = text;
  return made;
}

function shape(name, kind, attributes) {
  const made = document.createElementNS(SVG, name);
  made.setAttribute("class", kind);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

const rectangle = (kind, [x1, y1, x2, y2]) => shape("rect", kind, { x: x1, y: y1, width: x2 - x1, height: y2 - y1 });
const polygon = (kind, points) => shape("polygon", kind, { points: points.map((point) => point.join(",")).join(" ") });

function drawMasks(svg, masks) {
  if (masks.sky) svg.append(rectangle("sky", [0, 0, 1, masks.sky]));
  for (const area of masks.areas) svg.append(polygon(area.kind, area.polygon));
}

function tag(box, text) {
  const made = element("span", { class: box[1] < 0.08 ? "tag low" : "tag" }, text);
  made.style.left = `${Math.min(box[0], 0.6) * 100}%`;
  made.style.top = `${box[1] * 100}%`;
  return made;
}

const age = (seconds) => (seconds === null ? "–" : seconds < 90 ? `${Math.round(seconds)} 秒 s` : `${Math.round(seconds / 60)} 分 min`);

function showFacts() {
  const { clock, waiting } = state;
  const facts = [
    ["平台 Server", state.connected ? "已连接 connected" : "未连接 offline"],
    ["时钟差 Clock", clock.offset_ms === null ? "未测 unmeasured" : `${(clock.offset_ms / 1000).toFixed(3)} ± ${(clock.error_ms / 1000).toFixed(3)} s`],
    ["待发 Outbox", `${waiting.sighting} 报警 alarms · ${waiting.picture} 图 pictures`],
    ["模型 Model", state.model],
  ];
  byId("edge").textContent = `瞭望终端 ${state.edge}`;
  byId("facts").replaceChildren(...facts.map(([name, value]) => {
    const pair = element("div");
    pair.append(element("dt", {}, name), element("dd", {}, value));
    return pair;
  }));
  const findings = state.cameras.filter((camera) => camera.judgement === "blind").map((camera) => `${camera.id}: ${word(camera.state)}`);
  if (!state.connected) findings.push("连不上平台，报警留在待发箱 No connection to the server; alarms wait in the outbox");
  if (state.unwritten) findings.push(`磁盘写不进，${state.unwritten} 条报警只在内存里，请清理 The disk is full: ${state.unwritten} alarms are in memory alone`);
  if (state.parked) findings.push(`平台拒收 ${state.parked} 件 parts were refused by the server`);
  byId("findings").hidden = findings.length === 0;
  byId("findings").textContent = findings.join("\n");
}

function cardOf(camera) {
  const id = `camera-${camera.id}`;
  let card = byId(id);
  if (!card) {
    card = element("article", { id });
    card.innerHTML = '<h2><span class="name"></span><span class="badge"></span></h2><div class="picture"></div><p class="meta"></p><p class="reason"></p><button type="button">画屏蔽区 Masks</button>';
    // Made once: a button that is made anew each second swallows clicks.
    card.querySelector("button").onclick = () => openEditor(camera.id);
    byId("cameras").append(card);
  }
  return card;
}

const source = (camera, view) => `/picture/${encodeURIComponent(camera.id)}.jpg?preset=${encodeURIComponent(view.preset)}&at=${view.key}`;

function showPicture(place, camera, view) {
  if (view.key === null) {
    place.replaceChildren(element("p", { class: "none" }, "还没有画面 No picture yet"));
    return;
  }
  let image = place.querySelector("img");
  if (!image) image = element("img", { alt: `${camera.id} 最近一次判读的画面 newest judged picture` });
  if (place.dataset.key !== String(view.key)) image.src = source(camera, view);
  place.dataset.key = view.key;
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 1 1");
  svg.setAttribute("preserveAspectRatio", "none");
  drawMasks(svg, view.masks);
  for (const each of view.dropped) svg.append(rectangle("dropped", each.box));
  for (const each of view.hits) svg.append(rectangle("halo", each.box), rectangle("hit", each.box));
  const tags = [
    ...view.dropped.map((each) => tag(each.box, `${each.confidence.toFixed(2)} 不算 no: ${each.why}`)),
    ...view.hits.map((each) => tag(each.box, `${word(each.label)} ${each.confidence.toFixed(2)}`)),
  ];
  place.replaceChildren(image, svg, ...tags);
}

const viewOf = (camera) => camera.views.find((each) => each.preset === (camera.preset || "")) || camera.views[0];

function showCamera(camera) {
  const card = cardOf(camera);
  const view = viewOf(camera);
  card.className = `camera ${camera.judgement}`;
  card.querySelector(".name").textContent = camera.id + (camera.preset ? ` · ${camera.preset}` : "");
  card.querySelector(".badge").textContent = word(camera.judgement);
  showPicture(card.querySelector(".picture"), camera, view);
  const meta = card.querySelector(".meta");
  card.querySelector("button").disabled = view.key === null;
  const parts = [["距上次判读 Looked", age(camera.look_age_s)], ["光线 Light", word(camera.light)], ["已判读 Looks", camera.looks], ["报警 Sightings", camera.sightings]];
  meta.replaceChildren(...parts.map(([name, value]) => {
    const made = element("span", {}, `${name} `);
    made.append(element("b", {}, value));
    return made;
  }));
  card.querySelector(".reason").textContent = camera.judgement === "blind" ? `${word(camera.state)}${camera.reason ? `: ${camera.reason}` : ""}` : "";
}

async function refresh() {
  try {
    const answer = await fetch("/state.json");
    if (answer.status === 403) { location.href = "/login"; return; }
    state = await answer.json();
    showFacts();
    state.cameras.forEach(showCamera);
    byId("undo").disabled = !state.undoable;
  } catch {
    byId("findings").hidden = false;
    byId("findings").textContent = "终端没有应答 The box does not answer";
  }
  setTimeout(refresh, 1000);
}

// Drawing

function openEditor(id) {
  const camera = state.cameras.find((each) => each.id === id);
  const view = viewOf(camera);
  editing = { camera: camera.id, preset: view.preset, masks: structuredClone(view.masks), tool: "exclude", points: [] };
  byId("editor-title").textContent = camera.id + (view.preset ? ` · ${view.preset}` : "");
  byId("canvas-picture").src = source(camera, view);
  byId("editor").hidden = false;
  say(null);
  showEditor();
}

function showEditor() {
  const svg = byId("canvas");
  svg.replaceChildren();
  drawMasks(svg, editing.masks);
  if (editing.points.length) {
    svg.append(shape("polyline", "open", { points: editing.points.map((point) => point.join(",")).join(" ") }));
    for (const [x, y] of editing.points) svg.append(shape("ellipse", "open", { cx: x, cy: y, rx: 0.006, ry: 0.01 }));
  }
  for (const button of document.querySelectorAll("[data-tool]")) button.setAttribute("aria-pressed", button.dataset.tool === editing.tool);
  byId("finish").disabled = editing.points.length < 3;
  byId("point-back").disabled = editing.points.length === 0;
  byId("hint").textContent = HINTS[editing.tool];
  byId("areas").replaceChildren(...editing.masks.areas.map(rowOf));
}

function rowOf(area, index) {
  const row = element("li");
  const name = element("input", { value: area.name, placeholder: "名称 Name", maxlength: 60, "aria-label": "名称 Name" });
  name.oninput = () => { area.name = name.value; };
  const remove = element("button", { type: "button" }, "删除 Delete");
  remove.onclick = () => { editing.masks.areas.splice(index, 1); showEditor(); };
  row.append(element("span", { class: "kind" }, word(area.kind)), name, remove);
  return row;
}

function say(text, good = false) {
  byId("message").hidden = text === null;
  byId("message").className = good ? "good" : "";
  byId("message").textContent = text || "";
}

async function send(url, body) {
  const answer = await fetch(url, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  if (!answer.ok) throw new Error((await answer.text()).trim());
  return answer.json();
}

byId("canvas").onclick = (event) => {
  const frame = byId("canvas").getBoundingClientRect();
  const round = (value) => Math.min(1, Math.max(0, Math.round(value * 10000) / 10000));
  const point = [round((event.clientX - frame.left) / frame.width), round((event.clientY - frame.top) / frame.height)];
  if (editing.tool === "sky") editing.masks.sky = point[1] < 0.02 ? 0 : point[1];
  else editing.points.push(point);
  showEditor();
};
for (const button of document.querySelectorAll("[data-tool]")) {
  button.onclick = () => { editing.tool = button.dataset.tool; editing.points = []; showEditor(); };
}
function finish() {
  if (editing.points.length > 2) editing.masks.areas.push({ name: "", kind: editing.tool, polygon: editing.points });
  editing.points = [];
  showEditor();
}
byId("finish").onclick = finish;
byId("point-back").onclick = () => { editing.points.pop(); showEditor(); };
byId("close").onclick = () => { editing = null; byId("editor").hidden = true; };
byId("save").onclick = async () => {
  finish();
  try {
    await send(`/masks/${encodeURIComponent(editing.camera)}?preset=${encodeURIComponent(editing.preset)}`, editing.masks);
    byId("undo").disabled = false;
    say("已保存，立即生效 Saved, in use now", true);
  } catch (error) { say(`没有保存 Not saved: ${error.message}`); }
};
byId("undo").onclick = async () => {
  try {
    await send("/masks-undo", {});
    state = await (await fetch("/state.json")).json();
    const view = state.cameras.find((each) => each.id === editing.camera).views.find((each) => each.preset === editing.preset);
    editing.masks = structuredClone(view.masks);
    editing.points = [];
    byId("undo").disabled = !state.undoable;
    showEditor();
    say("已恢复上一版 The version before is in use", true);
  } catch (error) { say(`没有恢复 Not undone: ${error.message}`); }
};
refresh();
