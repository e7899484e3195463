// Keeps everything that the page needs, so that it works offline; a new version of the bundle replaces the old one.

importScripts("precached.js"); // says self.PRECACHED
const CACHE = "@@SLUG@@-@@HASH@@";

self.addEventListener("install", (event) => event.waitUntil((async () => {
  const cache = await caches.open(CACHE);
  await cache.addAll(["precached.js", ...self.PRECACHED]);
  const manifest = await (await fetch("bundle/bundle.json")).json();
  const wanted = ["bundle.json", ...manifest.files.map(({ path }) => path).filter((path) => !/\.(py|md|toml)$/.test(path) && path !== "golden.npz")];
  await cache.addAll(wanted.map((path) => `bundle/${path.split("/").map(encodeURIComponent).join("/")}`));
  await self.skipWaiting();
})()));

self.addEventListener("activate", (event) => event.waitUntil((async () => {
  for (const name of await caches.keys()) if (name.startsWith("@@SLUG@@-") && name !== CACHE) await caches.delete(name);
  await self.clients.claim();
})()));

self.addEventListener("fetch", (event) => {
  if (event.request.method !== "GET" || new URL(event.request.url).origin !== location.origin) return;
  event.respondWith((async () => (await caches.match(event.request, { ignoreSearch: true })) ?? fetch(event.request))());
});
