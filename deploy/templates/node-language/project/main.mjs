// node main.mjs TEXT [--chat] [--max-tokens=N] | --golden: goes on with a text, or answers it, on the command line.

import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { Template } from "@huggingface/jinja";
import * as ort from "onnxruntime-node";

import { LanguageModel, otherTokens } from "./generate.mjs";
import { compiled, readTemplate } from "./template.mjs";

const BUNDLE = join(dirname(fileURLToPath(import.meta.url)), "bundle");
const read = async (name) => JSON.parse(await readFile(join(BUNDLE, name), "utf8"));
const ifThere = (name) => readFile(join(BUNDLE, name), "utf8").catch(() => null);

/** Return the bundle's model. */
export async function load() {
  const [generation, tokenizer] = [await read("generation.json"), await read("tokenizer.json")];
  const session = await ort.InferenceSession.create(join(BUNDLE, generation.model), { executionProviders: ["cpu"], logSeverityLevel: 3 });
  return new LanguageModel(ort, session, generation, tokenizer);
}

/** Return a function from a user's text to the token ids of a chat that begins with it; null where the model has no chat template. */
export async function chatPrompt(model) {
  const template = await readTemplate(ifThere);
  if (template === null) return null;
  const render = compiled(Template, template);
  return (text) => model.tokenizer.plainIds(render([{ role: "user", content: text }]));
}

async function main() {
  const given = process.argv.slice(2);
  const [text, ...more] = given.filter((word) => !word.startsWith("--"));
  const unknown = given.some((word) => word.startsWith("--") && !/^--(golden$|chat$|max-tokens=)/.test(word));
  const most = Number(given.find((word) => word.startsWith("--max-tokens="))?.slice(13) ?? 64);
  if (unknown || more.length || !(most >= 1) || (text === undefined && !given.includes("--golden"))) {
    console.error("usage: node main.mjs TEXT [--chat] [--max-tokens=N] | --golden");
    return 2;
  }
  process.stdout.on("error", () => process.exit());  // the reader has gone, as with | head
  const model = await load();
  const prompted = await chatPrompt(model);
  if (given.includes("--golden")) {
    const ids = prompted ?? ((line) => model.tokenizer.encode(line).ids);
    const { places, equal, close, problem } = await model.checkGolden(await read("golden.json"), (sample) => otherTokens(ids(sample.text), sample.prompt));
    if (problem) console.log(`failed: ${problem}`);
    console.log(`${equal} of ${places} golden tokens as recorded${close ? ` (${close} closer than the tolerance, not judged)` : ""}`);
    return problem || !places ? 1 : 0;
  }
  if (given.includes("--chat") && prompted === null) throw new Error("the model has no chat template: leave out --chat, and it goes on with the text");
  for await (const piece of model.stream(given.includes("--chat") ? prompted(text) : text, most)) process.stdout.write(piece);
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
