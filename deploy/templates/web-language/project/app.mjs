// The page: a conversation with the model in worker.mjs. Once loaded it works offline (sw.js).

import { keepOffline, report } from "./offline.mjs";
import { chat } from "./page.mjs";

const worker = new Worker("worker.mjs", { type: "module" });

/** Send a request to the worker; return {next, stop}: `next` gives its answers one by one. */
function ask(request) {
  const { port1: port, port2 } = new MessageChannel();
  const held = [];
  let wake = () => {};
  port.onmessage = ({ data }) => {
    held.push(data);
    wake();
  };
  worker.postMessage(request, [port2]);
  const next = async () => {
    while (!held.length) await new Promise((resolve) => { wake = resolve; });
    const said = held.shift();
    if (said.error) throw new Error(said.error);
    return said;
  };
  return { next, stop: () => port.postMessage("stop") };
}

async function* reply(messages, most, signal) {
  const { next, stop } = ask({ messages, most });
  signal.addEventListener("abort", stop);
  for (;;) {
    const { piece, made } = await next();
    if (signal.aborted) throw new DOMException("stopped", "AbortError");
    if (piece === undefined) return made;
    yield piece;
  }
}

chat({ name: "@@NAME@@", hint: "loading the model …", reply });
const empty = document.getElementById("empty");
const golden = new URLSearchParams(location.search).has("golden");
try {
  const { hint } = await ask({ open: true }).next();
  empty.textContent = hint;
  const offline = await keepOffline();
  if (golden) {
    const { count, problems } = await ask({ golden: true }).next();
    await report({ count, problems, offline });
  }
} catch (error) {
  empty.textContent = error.message;
  if (golden) await report({ count: 0, problems: [error.message] });
}
