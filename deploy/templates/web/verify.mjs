// node verify.mjs BUNDLE: the checks of bundle.mjs under Node, with the npm package onnxruntime-web.
// Exit status 0: all is right; 1: something is wrong; 2: the bundle or onnxruntime-web is not there.

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

import { verify } from "./bundle.mjs";

const folder = process.argv[2];
if (!folder) {
  console.error("verify: give the folder of a bundle");
  process.exit(2);
}
try {
  const require = createRequire(join(resolve("."), "package.json")); // node_modules of the folder it is started in
  const ort = await import(pathToFileURL(require.resolve("onnxruntime-web")).href);
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = "error";
  const checks = await verify(ort, async (name) => new Uint8Array(await readFile(join(folder, name))));
  for (const { name, status, detail } of checks) console.log(`${status.padEnd(9)} ${name}: ${detail}`);
  process.exit(checks.every((check) => check.status === "passed") ? 0 : 1);
} catch (error) {
  console.error(`verify: ${error.message}`);
  process.exit(2);
}
