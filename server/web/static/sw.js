// SPDX-License-Identifier: AGPL-3.0-or-later
// Shows push messages, says that they arrived, and keeps the last pages for when there is no signal.
const PAGES = "straw1530-pages-1";

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(clients.claim()));

self.addEventListener("push", (event) => {
  const told = event.data.json();
  const asks = !["taken", "released", "drill", "fault", "well"].includes(told.kind);
  const shown = self.registration.showNotification(told.title, {
    body: told.text,
    icon: "/static/icon.svg",
    tag: told.url,
    renotify: true,
    requireInteraction: asks,
    vibrate: asks ? [300, 120, 300, 120, 300] : [120],
    data: { url: told.url },
  });
  const said = told.receipt ? fetch(told.receipt, { method: "POST" }).catch(() => {}) : null;
  event.waitUntil(Promise.all([shown, said]));
});

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  const { url } = event.notification.data;
  event.waitUntil(
    clients.matchAll({ type: "window" }).then((open) => {
      const here = open.find((one) => new URL(one.url).pathname === url);
      return here ? here.focus() : clients.openWindow(url);
    }),
  );
});

// The network first, always; what it last gave only where there is none. Answers are not taken here: the page keeps them.
self.addEventListener("fetch", (event) => {
  const { request } = event;
  const { pathname, origin } = new URL(request.url);
  const kept = pathname === "/w" || pathname.startsWith("/w/") || pathname.startsWith("/static/");
  if (request.method === "POST" && pathname === "/logout") event.waitUntil(caches.delete(PAGES));
  if (request.method !== "GET" || origin !== location.origin || !kept) return;
  event.respondWith(fresh(request));
});

async function fresh(request) {
  try {
    const reply = await fetch(request);
    if (reply.ok && !reply.redirected) (await caches.open(PAGES)).put(request, reply.clone());
    return reply;
  } catch (error) {
    const last = await caches.match(request);
    if (!last) throw error;
    return last.headers.get("Content-Type")?.startsWith("text/html") ? aged(last) : last;
  }
}

/** The kept page, marked with the time of day it is from: it must not pass for the present one. */
async function aged(last) {
  const text = await last.text();
  const at = Date.parse(/<body[^>]* data-now="([^"]+)"/.exec(text)?.[1]);
  const shown = new Date(at || Date.now()).toLocaleTimeString("zh-CN", { hour12: false });
  return new Response(text.replace("<body ", `<body data-kept="${shown}" `), { headers: last.headers });
}
