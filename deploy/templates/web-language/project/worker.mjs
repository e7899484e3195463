// The model, away from the page: each request comes with a port for its answers.
//
//     {open}              → {hint}                      {messages, most} → {piece} …, {made}; "stop" to the port ends it early
//     {golden}            → {count, problems}           any of them      → {error}

import { fetched, inside, open, parsed } from "./bundle.mjs";
import { LanguageModel, otherTokens } from "./generate.mjs";
import { Template } from "./ort/jinja.mjs";
import * as ort from "./ort/ort.wasm.min.mjs";
import { compiled, readTemplate } from "./template.mjs";

const TALKS = "Ask something. The model runs in this browser; nothing leaves the device.";
const GOES_ON = "Begin a text: this model has no chat template and goes on with it. It runs in this browser; nothing leaves the device.";

ort.env.wasm.wasmPaths = new URL("./ort/", location.href).href;
ort.env.wasm.numThreads = globalThis.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency || 1) : 1;
ort.env.logLevel = "error";

async function load() {
  const values = async (name) => parsed(await fetched(name), name);
  const [manifest, generation, tokenizer] = await Promise.all(["bundle.json", "generation.json", "tokenizer.json"].map(values));
  const files = new Map();
  for (const name of [manifest.model.file, ...manifest.model.external_data]) files.set(name, await fetched(inside(name)));
  const model = new LanguageModel(ort, await open(ort, manifest, files), generation, tokenizer);
  const listed = new Set(manifest.files.map(({ path }) => path));
  const template = await readTemplate(async (name) => (listed.has(name) ? new TextDecoder().decode(await fetched(name)) : null));
  const render = template && compiled(Template, template);
  const prompted = (messages) => (render ? model.tokenizer.plainIds(render(messages)) : model.tokenizer.encode(messages.at(-1).content).ids);
  return { model, prompted, hint: render ? TALKS : GOES_ON };
}

const loaded = load();

async function answer({ open: opened, golden, messages, most }, port) {
  const { model, prompted, hint } = await loaded;
  if (opened) return { hint };
  if (golden) {
    const alike = ({ text: content, prompt }) => otherTokens(prompted([{ role: "user", content }]), prompt);
    const { places, problem } = await model.checkGolden(parsed(await fetched("golden.json"), "golden.json"), alike);
    return { count: places, problems: problem ? [problem] : [] };
  }
  const made = [];
  let stopped = false;
  port.onmessage = () => { stopped = true; };
  for await (const piece of model.stream(prompted(messages), most, made)) {
    port.postMessage({ piece });
    await new Promise((resolve) => { setTimeout(resolve); }); // lets "stop" in
    if (stopped) break;
  }
  return { made: made.length };
}

let turn = Promise.resolve(); // one request after the other: they share the model's cache
self.onmessage = ({ data, ports: [port] }) => {
  turn = turn.then(async () => port.postMessage(await answer(data, port))).catch((error) => port.postMessage({ error: error.message }));
};
