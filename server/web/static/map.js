// SPDX-License-Identifier: AGPL-3.0-or-later
// The console's map: outlines, cameras with what they see, fires with the region they may be in. No tiles, no key.

const DEGREE_M = 111195;
const CONE_M = 4000; // useful radius of a lookout camera by day
let leaflet = null; // null when the vendored file is missing: the page says so
let words = {};
let choose = () => {};
const layers = {};
let shown = null; // the incident the map last went to
const places = new Map(); // camera id -> [lat, lon]
let fitted = false;
let villagesOf = null;

/** Set up; `onChoose` is called with an incident's code when its mark is clicked. */
export function start(texts, onChoose) {
  if (!document.getElementById("map") || !window.L) return;
  [words, choose] = [texts, onChoose];
  leaflet = L.map("map", { zoomSnap: 0.25, attributionControl: true, zoomControl: false, minZoom: 7, maxZoom: 17 }).setView([28.95, 118.87], 10);
  leaflet.attributionControl.setPrefix("Leaflet");
  L.control.zoom({ position: "bottomright" }).addTo(leaflet);
  L.control.scale({ imperial: false, position: "bottomleft" }).addTo(leaflet);
  for (const [name, z] of [["outlines", 350], ["villages", 360], ["grids", 361], ["cones", 370], ["fires", 450]]) {
    leaflet.createPane(name).style.zIndex = z;
    layers[name] = L.layerGroup().addTo(leaflet);
  }
  outlines();
  cameras();
}

async function json(path) {
  const reply = await fetch(path);
  return reply.ok ? reply.json() : null;
}

async function outlines() {
  const [counties, towns] = await Promise.all([json("/api/v1/divisions/county"), json("/api/v1/divisions/township")]);
  if (towns) {
    const drawn = L.geoJSON(towns, { pane: "outlines", interactive: false, style: { color: "#32493e", weight: 1, fillColor: "#16231c", fillOpacity: 0.9 } });
    layers.outlines.addLayer(drawn);
    labels(drawn, "town-label", 10.75, layers.outlines);
    if (towns.features.some((one) => one.properties.synthetic)) leaflet.attributionControl.addAttribution(words.invented);
  }
  if (counties) {
    const drawn = L.geoJSON(counties, { pane: "outlines", interactive: false, style: { color: "#6d9481", weight: 2, fill: false } });
    layers.outlines.addLayer(drawn);
  }
  const zones = await json("/api/v1/divisions/zone"); // they lie over the grids
  if (zones?.features.length) {
    const drawn = L.geoJSON(zones, { pane: "outlines", interactive: false, style: { color: "#c79a3a", weight: 1.5, dashArray: "6 5", fillColor: "#c79a3a", fillOpacity: 0.06 } });
    labels(drawn, "town-label", 10.75, L.layerGroup([drawn]).addTo(leaflet));
  }
  const area = layers.outlines.getLayers().filter((one) => one.getLayers().length).pop();
  if (!fitted && area) leaflet.fitBounds(area.getBounds(), { padding: [12, 12], animate: false });
  fitted = true;
}

/** Names in the middle of their outlines, only when zoomed in far enough to read them. */
function labels(drawn, className, fromZoom, into, wanted = () => true) {
  const group = L.layerGroup();
  drawn.eachLayer((one) => {
    if (!wanted(one.feature)) return;
    const tip = L.tooltip({ permanent: true, direction: "center", className, interactive: false });
    group.addLayer(tip.setLatLng(one.getBounds().getCenter()).setContent(text(one.feature.properties.name)));
  });
  const update = () => {
    if (leaflet.getZoom() >= fromZoom) into.addLayer(group);
    else into.removeLayer(group);
  };
  into.relabel && leaflet.off("zoomend", into.relabel);
  into.relabel = update;
  leaflet.on("zoomend", update);
  update();
}

/** Draw the cameras as they are now. */
export async function cameras() {
  if (!leaflet) return;
  const found = await json("/api/v1/cameras");
  if (!found) return;
  layers.cones.clearLayers();
  for (const camera of found.cameras) {
    const here = [camera.lat, camera.lon];
    places.set(camera.id, here);
    const color = camera.state === "ok" ? "#56d296" : camera.state === "unknown" || camera.state === "starting" ? "#ffc145" : "#ff4d45";
    const cone = [here];
    for (let turn = -0.5; turn <= 0.501; turn += 0.1) cone.push(move(here, camera.pan + turn * camera.hfov, CONE_M));
    layers.cones.addLayer(L.polygon(cone, { pane: "cones", color, weight: 1, opacity: 0.5, fillOpacity: 0.07, interactive: false }));
    const mark = L.circleMarker(here, { pane: "cones", radius: 5, color, weight: 2, fillColor: "#0b120f", fillOpacity: 1 });
    const seen = camera.last_frame_at ? words.seen.replace("{at}", new Date(camera.last_frame_at).toLocaleTimeString()) : "";
    mark.bindTooltip(text(`${camera.name} · ${camera.state_text}`), { direction: "right", className: "camera-label", offset: [6, 0] });
    mark.bindPopup(text(`${camera.name} · ${camera.edge} · ${camera.state_text} ${seen}`));
    layers.cones.addLayer(mark);
  }
}

/** Draw the fires of the list's rows; `chosen` is the code of the one in the pane. */
export function draw(rows, chosen) {
  if (!leaflet) return;
  layers.fires.clearLayers();
  for (const row of rows) {
    const fire = JSON.parse(row.dataset.place);
    const look = { late: row.classList.contains("is-over"), chosen: row.dataset.code === chosen, open: fire.open };
    if (fire.lat !== null) {
      const here = [fire.lat, fire.lon];
      if (fire.open || look.chosen) region(here, fire, look);
      mark(here, row.dataset.code, fire, look);
      if (look.chosen) villages(fire.grid);
      if (look.chosen && shown !== chosen) goTo(here);
    } else if (fire.bearing !== null && places.has(fire.camera) && fire.open) {
      const from = places.get(fire.camera);
      const ray = [from, move(from, fire.bearing, 10_000)];
      layers.fires.addLayer(L.polyline(ray, { pane: "fires", color: "#ffc145", weight: 2, dashArray: "6 6" }).on("click", () => choose(row.dataset.code)));
    }
  }
  shown = chosen;
}

function goTo(here) {
  const zoom = Math.max(leaflet.getZoom(), 12.5);
  if (fitted && !matchMedia("(prefers-reduced-motion: reduce)").matches) leaflet.flyTo(here, zoom, { duration: 0.8 });
  else leaflet.setView(here, zoom, { animate: false });
  fitted = true;
}

function mark(here, code, fire, look) {
  const kind = look.open ? (look.late ? "late" : "") : "ended";
  const size = look.open ? 22 : 14;
  const icon = L.divIcon({ className: `fire-mark ${kind} ${look.chosen ? "chosen" : ""}`, iconSize: [size, size] });
  const made = L.marker(here, { pane: "fires", icon, keyboard: false, zIndexOffset: look.open ? 500 : 0 });
  made.on("click", () => choose(code));
  if (look.open || look.chosen) made.bindTooltip(text(fire.name), { permanent: true, direction: "top", offset: [0, -12], className: `fire-label ${kind}` });
  layers.fires.addLayer(made);
}

/** The region of two standard deviations along and across the line of sight. */
function region(here, fire, look) {
  if (!fire.along || !fire.across) return;
  const points = [];
  for (let turn = 0; turn < 360; turn += 10) {
    const [along, across] = [2 * fire.along * Math.cos(rad(turn)), 2 * fire.across * Math.sin(rad(turn))];
    points.push(move(here, fire.bearing + deg(Math.atan2(across, along)), Math.hypot(along, across)));
  }
  const color = look.late ? "#ff4d45" : "#ffc145";
  const shape = L.polygon(points, { pane: "cones", color, weight: 1.5, dashArray: "4 4", fillOpacity: 0.12, interactive: false });
  layers.fires.addLayer(shape);
}

/** The borders of the villages of the fire's township, and of their grids. */
async function villages(grid) {
  const town = grid?.slice(0, 9);
  if (!town || grid === villagesOf) return;
  villagesOf = grid;
  for (const [level, weight, fromZoom] of [["village", 1, 12.25], ["grid", 0.5, 13.5]]) {
    const found = await json(`/api/v1/divisions/${level}?within=${town}`);
    const pane = `${level}s`;
    layers[pane].clearLayers();
    if (!found) continue;
    const others = (one) => !grid.startsWith(one.properties.code); // their names stand at the fire
    const drawn = L.geoJSON(found, { pane, interactive: false, style: { color: "#4f7563", weight, fill: false } });
    layers[pane].addLayer(drawn);
    labels(drawn, "village-label", fromZoom, layers[pane], others);
  }
}

function text(value) {
  const holder = document.createElement("span");
  holder.textContent = value;
  return holder;
}

const rad = (degrees) => (degrees * Math.PI) / 180;
const deg = (radians) => (radians * 180) / Math.PI;

function move([lat, lon], bearing, metres) {
  const north = (metres * Math.cos(rad(bearing))) / DEGREE_M;
  const east = (metres * Math.sin(rad(bearing))) / DEGREE_M / Math.cos(rad(lat));
  return [lat + north, lon + east];
}
