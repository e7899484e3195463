// node main.mjs INPUT… [--json] [--golden]: answers on the command line. An input is a file, or a text where the model takes texts.

import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import * as ort from "onnxruntime-node";

import { openBundle } from "./inference.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
const read = async (name) => new Uint8Array(await readFile(join(HERE, "bundle", name)));

/** Decode an image to RGB bytes, turned as its EXIF orientation says; transparent parts keep their colour, as in Pillow. */
async function pixels(bytes) {
  const { default: sharp } = await import("sharp");
  try {
    const { data, info } = await sharp(bytes).rotate().removeAlpha().toColourspace("srgb").raw().toBuffer({ resolveWithObject: true });
    const rgb = info.channels === 3 ? data : Buffer.from(Array.from({ length: info.width * info.height * 3 }, (_, k) => data[Math.floor(k / 3) * info.channels]));
    return { data: new Uint8Array(rgb), width: info.width, height: info.height };
  } catch (error) {
    throw new Error(`not an image that can be read: ${error.message.split("\n")[0]}`);
  }
}

/** Return the answer for a raw input: a text, two texts, or the bytes of a file. */
export async function load() {
  return openBundle(ort, read, { pixels, providers: ["cpu"] });
}

function inWords(answer) {
  switch (answer.kind) {
    case "classes":
    case "labels": return answer.classes.map(({ label, score }) => `${label} ${score.toFixed(3)}`).join(", ") || "none";
    case "boxes": return answer.boxes.map(({ label, score, box }) => `${label} ${score.toFixed(2)} [${box.map(Math.round)}]`).join("; ") || "none";
    case "spans": return answer.spans.map(({ label, text }) => `${label}: ${text}`).join("; ") || "none";
    case "text":
    case "answer": return answer.text;
    case "embedding": return `${answer.vector.length} numbers: ${answer.vector.slice(0, 4).map((x) => x.toFixed(4)).join(", ")}, …`;
    case "segmentation": return answer.classes.map(({ label, share }) => `${label} ${(100 * share).toFixed(1)} %`).join(", ");
    default: return JSON.stringify(answer.values ?? Object.fromEntries(Object.entries(answer.arrays).map(([name, { shape }]) => [name, shape])));
  }
}

async function main() {
  const given = process.argv.slice(2);
  const names = given.filter((name) => !name.startsWith("--"));
  const unknown = given.find((name) => name.startsWith("--") && !["--json", "--golden"].includes(name));
  if (unknown || (!names.length && !given.includes("--golden"))) {
    console.error(`${unknown ? `${unknown} is no option; ` : ""}usage: node main.mjs INPUT… [--json] [--golden]`);
    return 2;
  }
  const bundle = await load();
  if (given.includes("--golden")) {
    const { count, problems } = await bundle.checkGolden(read);
    for (const problem of problems) console.log(`failed: ${problem}`);
    console.log(`${count - problems.length} of ${count} golden raw inputs give the recorded answer`);
    return problems.length || !count ? 1 : 0;
  }
  const isText = bundle.steps.kind === "tokenizer";
  const inputs = isText && bundle.steps.pair ? [names] : names;
  let status = 0;
  for (const name of inputs) {
    const shown = [name].flat().join(" / ");
    try {
      const answer = await bundle.predict(isText ? name : new Uint8Array(await readFile(name)));
      console.log(given.includes("--json") ? JSON.stringify({ input: name, answer }) : `${shown}: ${inWords(answer)}`);
    } catch (error) {
      console.error(`${shown}: ${error.code === "ENOENT" ? "no such file" : error.message}`);
      status = 1;
    }
  }
  return status;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    process.exitCode = await main();
  } catch (error) {
    console.error(error.message);
    process.exitCode = 2;
  }
}
