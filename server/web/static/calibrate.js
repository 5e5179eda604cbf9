// SPDX-License-Identifier: AGPL-3.0-or-later
// Calibration: a point is clicked in the picture and on the map, or typed; the server solves, the residuals are drawn.

const words = JSON.parse(document.getElementById("words").textContent);
const root = document.getElementById("calibrate");
const picture = document.getElementById("picture");
const image = picture.querySelector("image");
const marks = picture.querySelector("g");
const body = document.querySelector(".points tbody");
const fault = document.getElementById("fault");
const found = document.getElementById("found");
const save = document.getElementById("save");
const size = { width: 1280, height: 720 };
const points = []; // {row, name, x, y, lat, lon, height, residual}
let active = null;
let leaflet = null;

const field = (id) => document.getElementById(id);
const number = (text) => (String(text).trim() === "" ? null : Number(String(text).replace("，", ".")));

function show(source, view) {
  const probe = new Image();
  probe.onload = () => {
    [size.width, size.height] = [probe.naturalWidth, probe.naturalHeight];
    picture.setAttribute("viewBox", `0 0 ${size.width} ${size.height}`);
    image.setAttribute("width", size.width);
    image.setAttribute("height", size.height);
    image.setAttribute("href", source);
    draw();
  };
  probe.src = source;
  for (const name of ["pan", "tilt", "hfov"]) if (view?.[name]) field(name).value = view[name];
}

for (const choice of document.querySelectorAll("[data-src]")) choice.addEventListener("click", () => show(choice.dataset.src, choice.dataset));
field("file").addEventListener("change", (event) => event.target.files[0] && show(URL.createObjectURL(event.target.files[0])));
document.querySelector("[data-src]")?.click();

function cell(row, value, onInput) {
  const input = document.createElement("input");
  input.value = value ?? "";
  input.addEventListener("input", () => {
    onInput(input.value);
    stale();
    draw();
  });
  input.addEventListener("focus", () => choose(points.find((one) => one.row === row)));
  row.insertCell().append(input);
  return input;
}

function add() {
  const row = body.insertRow();
  const point = { row, name: "" };
  points.push(point);
  point.number = row.insertCell();
  point.fields = { name: cell(row, point.name, (value) => (point.name = value)) };
  point.where = row.insertCell();
  for (const name of ["lat", "lon", "height"]) point.fields[name] = cell(row, "", (value) => (point[name] = number(value)));
  point.shown = row.insertCell();
  const remove = document.createElement("button");
  remove.type = "button";
  remove.textContent = words.remove;
  remove.addEventListener("click", () => {
    points.splice(points.indexOf(point), 1);
    point.mark?.remove();
    row.remove();
    choose(points.at(-1) ?? null);
    stale();
  });
  row.insertCell().append(remove);
  choose(point);
  return point;
}

function choose(point) {
  active = point;
  draw();
}

/** The point that is still without what was just clicked, else a new one. */
function wanting(what) {
  if (active && (active[what] ?? null) === null) return active;
  return points.find((one) => (one[what] ?? null) === null) ?? add();
}

picture.addEventListener("click", (event) => {
  const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(picture.getScreenCTM().inverse());
  const point = event.shiftKey && active ? active : wanting("x");
  [point.x, point.y] = [Math.round(at.x * 10) / 10, Math.round(at.y * 10) / 10];
  stale();
  choose(point);
});

function stale() {
  for (const point of points) point.residual = null;
  save.hidden = true;
  found.hidden = true;
}

const svg = (name, attributes, text) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
};

function draw() {
  marks.replaceChildren();
  const unit = size.width / 640;
  points.forEach((point, index) => {
    point.number.textContent = index + 1;
    point.row.classList.toggle("active", point === active);
    point.where.textContent = point.x === undefined ? "–" : `${point.x.toFixed(0)}, ${point.y.toFixed(0)}`;
    point.shown.textContent = point.residual ? `${point.residual.dx.toFixed(1)}, ${point.residual.dy.toFixed(1)}` : "";
    if (point.x !== undefined) {
      const color = point === active ? "#ffc145" : "#56d296";
      marks.append(svg("path", { d: `M${point.x - 7 * unit} ${point.y}H${point.x + 7 * unit}M${point.x} ${point.y - 7 * unit}V${point.y + 7 * unit}`, stroke: color, "stroke-width": 1.5 * unit }));
      marks.append(svg("text", { x: point.x + 5 * unit, y: point.y - 5 * unit, fill: color, "font-size": 13 * unit, stroke: "#000", "stroke-width": 2 * unit, "paint-order": "stroke" }, index + 1));
      if (point.residual) marks.append(svg("path", { d: `M${point.x} ${point.y}l${-10 * point.residual.dx} ${-10 * point.residual.dy}`, stroke: "#ff4d45", "stroke-width": 2 * unit }));
    }
    place(point, index);
  });
}

function place(point, index) {
  if (!leaflet) return;
  point.mark?.remove();
  if (field("crs").value !== "wgs84" || !Number.isFinite(point.lat ?? NaN) || !Number.isFinite(point.lon ?? NaN)) return;
  point.mark = L.circleMarker([point.lat, point.lon], { radius: 7, color: point === active ? "#ffc145" : "#56d296", fillOpacity: 0.4 }).addTo(leaflet);
  point.mark.bindTooltip(String(index + 1), { permanent: true, direction: "top" });
}

field("add").addEventListener("click", add);
field("crs").addEventListener("change", () => { stale(); draw(); });
for (const name of ["pan", "tilt", "hfov"]) field(name).addEventListener("input", stale);

async function ask(keep) {
  fault.hidden = true;
  const asked = points.filter((one) => one.x !== undefined);
  const sent = {
    ...size, crs: field("crs").value, save: keep, pan: number(field("pan").value), tilt: number(field("tilt").value), hfov: number(field("hfov").value),
    points: asked.map((one) => ({ name: one.name, x: one.x, y: one.y, lat: one.lat ?? null, lon: one.lon ?? null, height_m: one.height ?? null })),
  };
  const token = document.querySelector("meta[name=csrf-token]").content;
  try {
    const reply = await fetch(location.pathname, { method: "POST", headers: { "Content-Type": "application/json", "X-CSRFToken": token, Accept: "application/json" }, body: JSON.stringify(sent) });
    const answer = await reply.json();
    if (!reply.ok) throw new Error(answer.error?.message ?? answer.message ?? words.failed);
    answer.residuals.forEach((one, index) => (asked[index].residual = one));
    tell(answer);
    save.hidden = keep;
  } catch (error) {
    fault.textContent = error instanceof TypeError ? words.failed : error.message;
    fault.hidden = false;
  }
  draw();
}

function tell(answer) {
  const v = answer.values;
  const lines = [
    answer.saved ? words.saved : null,
    words.rms.replace("{px}", answer.rms_px.toFixed(1)),
    `${words.pan} ${signed(v.pan_offset)}° ± ${v.pan_error.toFixed(2)}°`,
    `${words.tilt} ${signed(v.tilt_offset)}° ± ${v.tilt_error.toFixed(2)}°`,
    `${words.roll} ${signed(v.roll)}° ± ${v.roll_error.toFixed(2)}°`,
    `${words.hfov} × ${v.hfov_factor.toFixed(3)} ± ${v.hfov_error.toFixed(3)}`,
  ];
  found.replaceChildren(...lines.filter(Boolean).map((line) => Object.assign(document.createElement("span"), { textContent: line })));
  found.hidden = false;
}

const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
field("solve").addEventListener("click", () => ask(false));
save.addEventListener("click", () => ask(true));

addEventListener("load", async () => {
  if (!document.getElementById("map") || !window.L) return;
  const here = [Number(root.dataset.lat), Number(root.dataset.lon)];
  leaflet = L.map("map", { zoomSnap: 0.25, minZoom: 7, maxZoom: 18 }).setView(here, 13);
  leaflet.attributionControl.setPrefix("Leaflet");
  L.control.scale({ imperial: false }).addTo(leaflet);
  L.circleMarker(here, { radius: 6, color: "#7cb9ff" }).addTo(leaflet);
  const ray = (turn) => {
    const angle = ((Number(root.dataset.pan) + turn * Number(root.dataset.hfov)) * Math.PI) / 180;
    return [here[0] + (Math.cos(angle) * 5000) / 111195, here[1] + (Math.sin(angle) * 5000) / 111195 / Math.cos((here[0] * Math.PI) / 180)];
  };
  L.polygon([here, ray(-0.5), ray(0), ray(0.5)], { color: "#7cb9ff", weight: 1, fillOpacity: 0.06, interactive: false }).addTo(leaflet);
  leaflet.on("click", (event) => {
    const point = active && (active.lat ?? null) === null ? active : wanting("lat");
    field("crs").value = "wgs84";
    [point.lat, point.lon] = [Number(event.latlng.lat.toFixed(6)), Number(event.latlng.lng.toFixed(6))];
    point.fields.lat.value = point.lat;
    point.fields.lon.value = point.lon;
    stale();
    choose(point);
  });
  draw();
  for (const [level, color] of [["village", "#3d5a4c"], ["township", "#6d9481"]]) {
    const reply = await fetch(`/api/v1/divisions/${level}`);
    if (reply.ok) L.geoJSON(await reply.json(), { interactive: false, style: { color, weight: 1, fill: false } }).addTo(leaflet);
  }
});
