// Keeps everything that the page needs, so that it works offline; a new version of the bundle replaces the old one.

const APP = ["./", "index.html", "app.mjs", "audio.mjs", "bundle.mjs", "decoding.mjs", "images.mjs", "inference.mjs", "text.mjs", "tokenizer.mjs", "ui.mjs", "ui.css",
  "app.webmanifest", "ort/ort.wasm.min.mjs", "ort/ort-wasm-simd-threaded.mjs", "ort/ort-wasm-simd-threaded.wasm"];
const CACHE = "@@SLUG@@-@@HASH@@";

self.addEventListener("install", (event) => event.waitUntil((async () => {
  const cache = await caches.open(CACHE);
  await cache.addAll(APP);
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
