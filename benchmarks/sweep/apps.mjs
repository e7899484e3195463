// node apps.mjs PROJECT SECONDS SEED: damaged bundles and inputs through a generated Node project, in one process.
//
// Each case is printed as JSON before it runs, so that the last line names the one that ended the process. What is thrown must be
// an Error of one line, within 5 s of processor time, and no name that leaves the bundle may be asked for.

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [project, seconds, seed] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
const load = (name) => import(pathToFileURL(join(project, name)).href);
const { openBundle } = await load("inference.mjs");
const { checkGolden } = await load("decoding.mjs");
const ort = createRequire(join(project, "package.json"))("onnxruntime-node");
const { load: open } = await load("main.mjs");
const whole = await open();
const files = new Map();

async function read(name) {
  if (!files.has(name)) files.set(name, new Uint8Array(await readFile(join(project, "bundle", name))));
  return files.get(name);
}

let state = seed >>> 0;
function below(limit) { // xorshift, so that a seed gives the same cases everywhere
  state ^= state << 13; state >>>= 0; state ^= state >>> 17; state ^= state << 5; state >>>= 0;
  return state % Math.max(1, limit);
}
const NASTY = ["-1", "0", "1e999", "null", "true", "[]", "{}", '"x"', '"../../etc/passwd"', '"/etc/passwd"', "99999999999999999999", "[[[[[[", "\u0000", "\ufffd"];

function mutated(bytes) {
  let changed = [...bytes.subarray(0, 1 << 17)];
  for (let times = 1 + below(4); times > 0; times -= 1) {
    const place = below(changed.length);
    switch (below(6)) {
      case 0: changed[place] ^= 1 << below(8); break;
      case 1: changed.length = place; break;
      case 2: changed.splice(place, 1 + below(32)); break;
      case 3: for (let k = 0; k < 4; k += 1) changed[place + k] = [0, 255, 127, 128][below(4)]; break;
      case 4: changed.splice(place, 0, ...new TextEncoder().encode(NASTY[below(NASTY.length)])); break;
      default: changed = exchanged(changed);
    }
  }
  return Uint8Array.from(changed, (byte) => byte & 255);
}

/** Exchange one number or quoted text for a nasty one. */
function exchanged(bytes) {
  const text = Buffer.from(bytes).toString("latin1");
  const tokens = [...text.matchAll(/-?\d+(\.\d+)?|"[^"]{0,40}"/g)];
  if (!tokens.length) return bytes;
  const token = tokens[below(tokens.length)];
  return [...Buffer.from(text.slice(0, token.index) + NASTY[below(NASTY.length)] + text.slice(token.index + token[0].length), "latin1")];
}

const raws = [];
for (const { input } of whole.manifest.golden.raw) raws.push("text" in input ? input.text : await read(input.file));
const names = ["bundle.json", ...(whole.steps.kind === "tokenizer" ? [whole.steps.file] : [])];
const found = { cases: 0, read: 0, refused: 0, wrong: [] };
const asked = new Set();

/** Return the processor time of this process in ms. */
function used() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

async function attempt(about, run) {
  console.log(JSON.stringify({ case: found.cases, ...about }));
  const start = used();
  try {
    await run();
    found.read += 1;
  } catch (error) {
    found.refused += 1;
    if (!(error instanceof Error)) found.wrong.push(`${found.cases}: threw ${typeof error}`);
    else if (/\n/.test(error.message.trim())) found.wrong.push(`${found.cases}: ${error.message.slice(0, 120)}`);
  }
  const took = used() - start;
  if (took > 5000) found.wrong.push(`${found.cases}: took ${Math.round(took)} ms`);
  for (const name of asked) if (/(^|\/)\.\.(\/|$)|^\/|\\/.test(name)) found.wrong.push(`${found.cases}: asked for ${name}`);
  asked.clear();
  found.cases += 1;
}

while (used() < 1000 * seconds) {
  const kind = below(3);
  const [number, name, before] = [below(raws.length), names[below(names.length)], state];
  if (kind === 0) {
    const raw = raws[number];
    const isText = !(raw instanceof Uint8Array);
    const changed = isText ? new TextDecoder().decode(mutated(new TextEncoder().encode([raw].flat().join(" ")))) : mutated(raw);
    await attempt({ kind: "input", number, state: before }, () => whole.predict(isText && whole.steps.pair ? [changed, changed] : changed));
  } else {
    const changed = mutated(await read(name));
    const damaged = async (wanted) => { asked.add(wanted); return wanted === name ? changed : read(wanted); };
    await attempt({ kind: "bundle", name, state: before }, async () => {
      const bundle = await openBundle(ort, damaged, { session: whole.session, pixels: whole.pixels });
      const problems = await checkGolden(bundle.manifest, damaged, (raw) => bundle.predict(raw));
      if (problems.some((problem) => /\n/.test(problem.trim()))) throw new Error("a problem of two lines\nas its message");
    });
  }
}
console.log(JSON.stringify({ cases: found.cases, read: found.read, refused: found.refused, wrong: found.wrong.slice(0, 20) }));
process.exit(found.wrong.length ? 1 : 0);
