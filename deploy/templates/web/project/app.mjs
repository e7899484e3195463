// The page: everything happens in the browser, and once loaded it works offline (sw.js). ?ep=webgpu asks for WebGPU.

import { fetched } from "./bundle.mjs";
import { openBundle } from "./inference.mjs";
import { keepOffline, report } from "./offline.mjs";
import { show } from "./ui.mjs";

const query = new URLSearchParams(location.search);
const gpu = query.get("ep") === "webgpu" && "gpu" in navigator;
const ort = await import(gpu ? "./ort/ort.webgpu.min.mjs" : "./ort/ort.wasm.min.mjs");
ort.env.wasm.wasmPaths = new URL("./ort/", location.href).href;
ort.env.wasm.numThreads = globalThis.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency || 1) : 1;
ort.env.logLevel = "error";

/** Decode an image to RGB bytes, turned as its EXIF orientation says. */
async function pixels(bytes) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(new Blob([bytes]), { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  } catch {
    throw new Error("not an image that can be read");
  }
  const { width, height } = bitmap;
  const pen = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  pen.drawImage(bitmap, 0, 0);
  const { data: rgba } = pen.getImageData(0, 0, width, height);
  const data = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; from < rgba.length; from += 4, to += 3) [data[to], data[to + 1], data[to + 2]] = [rgba[from], rgba[from + 1], rgba[from + 2]];
  return { data, width, height };
}

try {
  const bundle = await openBundle(ort, fetched, { pixels, providers: gpu ? ["webgpu", "wasm"] : ["wasm"] });
  const predict = async (raw) => {
    const input = raw instanceof Blob ? new Uint8Array(await raw.arrayBuffer()) : raw;
    const start = performance.now();
    return { answer: await bundle.predict(input), milliseconds: performance.now() - start };
  };
  const { name, task } = bundle.manifest;
  const about = { name, task, kind: "@@KIND@@", pair: @@PAIR@@, rate: bundle.steps.rate };
  show(about, predict);
  const offline = await keepOffline();
  if (query.has("golden")) {
    await report({ ...(await bundle.checkGolden(fetched)), offline });
  }
} catch (error) {
  document.querySelector("main").replaceChildren(Object.assign(document.createElement("p"), { className: "error", textContent: error.message }));
  await report({ count: 0, problems: [error.message] });
}
