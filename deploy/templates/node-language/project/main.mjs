// node main.mjs TEXT [--max-tokens=N] [--golden]: goes on with a text on the command line.

import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import * as ort from "onnxruntime-node";

import { LanguageModel } from "./generate.mjs";

const BUNDLE = join(dirname(fileURLToPath(import.meta.url)), "bundle");
const read = async (name) => JSON.parse(await readFile(join(BUNDLE, name), "utf8"));

/** Return the bundle's model. */
export async function load() {
  const [generation, tokenizer] = [await read("generation.json"), await read("tokenizer.json")];
  const session = await ort.InferenceSession.create(join(BUNDLE, generation.model), { executionProviders: ["cpu"], logSeverityLevel: 3 });
  return new LanguageModel(ort, session, generation, tokenizer);
}

async function main() {
  const given = process.argv.slice(2);
  const [text, ...more] = given.filter((word) => !word.startsWith("--"));
  const unknown = given.some((word) => word.startsWith("--") && !/^--(golden$|max-tokens=)/.test(word));
  const most = Number(given.find((word) => word.startsWith("--max-tokens="))?.slice(13) ?? 64);
  if (unknown || more.length || !(most >= 1) || (text === undefined && !given.includes("--golden"))) {
    console.error("usage: node main.mjs TEXT [--max-tokens=N] [--golden]");
    return 2;
  }
  process.stdout.on("error", () => process.exit());  // the reader has gone, as with | head
  const model = await load();
  if (given.includes("--golden")) {
    const { places, equal, close, problem } = await model.checkGolden(await read("golden.json"));
    if (problem) console.log(`failed: ${problem}`);
    console.log(`${equal} of ${places} golden tokens as recorded${close ? ` (${close} closer than the tolerance, not judged)` : ""}`);
    return problem || !places ? 1 : 0;
  }
  for await (const piece of model.stream(text, most)) process.stdout.write(piece);
  process.stdout.write("\n");
  return 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    process.exitCode = await main();
  } catch (error) {
    console.error(error.message);
    process.exitCode = 2;
  }
}
