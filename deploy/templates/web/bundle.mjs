// A bundle in JavaScript: read, verified and run by onnxruntime-web, in a browser or in Node (20 or later).
//
//     import * as ort from "onnxruntime-web";
//     import { fetched, verify } from "./bundle.mjs";
//     const checks = await verify(ort, fetched);
//
// `read(name)` gives a file of the bundle as bytes: `fetched` those of a bundle that lies beside the page. The questions are those
// of verify.py: are the files the recorded ones, does the model take and give what is said, does it compute what it computed?
// Each answer is {name, status, detail}.

const TYPES = {
  "<f4": ["float32", Float32Array], "<f8": ["float64", Float64Array], "<i8": ["int64", BigInt64Array],
  "<u8": ["uint64", BigUint64Array], "<i4": ["int32", Int32Array], "<u4": ["uint32", Uint32Array],
  "<i2": ["int16", Int16Array], "<u2": ["uint16", Uint16Array], "|i1": ["int8", Int8Array], "|u1": ["uint8", Uint8Array],
  "|b1": ["bool", Uint8Array],
};

/** Answer the three questions about the bundle whose files `read(name)` gives. */
export async function verify(ort, read) {
  const listed = await read("bundle.json");
  const manifest = parsed(listed, "bundle.json");
  if (![1, 2].includes(manifest.schema_version)) {
    throw new Error(`bundle.json: schema version ${manifest.schema_version}, this program reads 1, 2`);
  }
  const files = new Map();
  const problems = [];
  const sums = new TextDecoder().decode(await read("SHA256SUMS")).split("\n");
  if (!sums.includes(`${await hash(listed)}  bundle.json`)) problems.push("bundle.json: its SHA-256 is not the one in SHA256SUMS");
  for (const { path, sha256, size_bytes: size } of manifest.files) {
    const bytes = await read(inside(path));
    files.set(path, bytes);
    if (bytes.length !== size) problems.push(`${path}: ${bytes.length} bytes, recorded are ${size}`);
    else if ((await hash(bytes)) !== sha256) problems.push(`${path}: its SHA-256 is not the recorded one`);
  }
  if (problems.length) return problems.map((detail) => ({ name: "files", status: "failed", detail }));
  const checks = [{ name: "files", status: "passed", detail: `${files.size} files: size and SHA-256 as recorded` }];
  const session = await open(ort, manifest, files);
  const schema = schemaProblem(manifest, session);
  if (schema) return [...checks, { name: "schema", status: "failed", detail: schema }];
  checks.push({ name: "schema", status: "passed", detail: "names of inputs and outputs as recorded" });
  const arrays = await readNpz(files.get(manifest.golden.file));
  return [...checks, ...(await checkGolden(ort, manifest, session, arrays))];
}

/** Return the JSON object in a file's bytes; what is none is refused in one line. */
export function parsed(bytes, name) {
  let values = null;
  try {
    values = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    // said below
  }
  if (values === null || typeof values !== "object" || Array.isArray(values)) throw new Error(`${name}: not a JSON object`);
  return values;
}

/** Return the path of a bundle's file, as it is; one that leaves the bundle is refused. */
export function inside(path) {
  if (typeof path !== "string" || path.split("/").some((part) => ["", ".", ".."].includes(part)) || /[\\\0:]/.test(path)) {
    throw new Error(`bundle.json: path ${JSON.stringify(path)?.slice(0, 80)} leaves the bundle; refused`);
  }
  return path;
}

/** Return a file of the bundle in the folder bundle/ beside the page, as bytes. */
export async function fetched(name) {
  const response = await fetch(`bundle/${name.split("/").map(encodeURIComponent).join("/")}`);
  if (!response.ok) throw new Error(`${name}: missing`);
  return new Uint8Array(await response.arrayBuffer());
}

/** Return an onnxruntime session of the bundle's model, its external data included. */
export async function open(ort, manifest, files, executionProviders = ["wasm"]) {
  const externalData = manifest.model.external_data.map((path) => ({ path, data: files.get(path) }));
  return ort.InferenceSession.create(files.get(manifest.model.file), { executionProviders, externalData, logSeverityLevel: 3 });
}

function schemaProblem(manifest, session) {
  for (const [side, names] of [["inputs", session.inputNames], ["outputs", session.outputNames]]) {
    const recorded = manifest[side].map((tensor) => tensor.name);
    if (JSON.stringify(recorded) !== JSON.stringify([...names])) return `${side} are ${names}, recorded are ${recorded}`;
  }
  return null;
}

async function checkGolden(ort, manifest, session, arrays) {
  const largest = new Map(manifest.golden.tolerances.map((entry) => [entry.output, 0]));
  const problems = [];
  for (let sample = 0; sample < manifest.golden.samples; sample += 1) {
    const at = (side, k) => arrays.get(`sample${String(sample).padStart(4, "0")}.${side}${k}`);
    const feeds = Object.fromEntries(manifest.inputs.map((tensor, k) => [tensor.name, toTensor(ort, at("input", k))]));
    const outputs = await session.run(feeds);
    for (const [k, { name }] of manifest.outputs.entries()) {
      const tolerance = manifest.golden.tolerances.find((entry) => entry.output === name);
      const [error, excess] = difference(outputs[name], at("output", k), tolerance);
      largest.set(name, Math.max(largest.get(name), error));
      if (excess) problems.push(`output '${name}': sample ${sample}: ${excess}`);
    }
  }
  if (problems.length) return problems.map((detail) => ({ name: "golden", status: "failed", detail }));
  return [...largest].map(([name, error]) => ({
    name: "golden",
    status: "passed",
    detail: `output '${name}': ${manifest.golden.samples} samples within tolerance, largest error ${error.toPrecision(3)}`,
  }));
}

/** Return [largest error, what is wrong or null]: shape, tolerance, and the best class where its margin is beyond the tolerance. */
function difference(got, want, tolerance) {
  if (JSON.stringify(got.dims) !== JSON.stringify(want.shape)) return [Infinity, `has shape ${got.dims}, recorded is ${want.shape}`];
  let largest = 0;
  for (let k = 0; k < want.data.length; k += 1) {
    const [have, should] = [Number(got.data[k]), Number(want.data[k])];
    if (Object.is(have, should) || have === should) continue;
    const error = Math.abs(have - should);
    if (!(error <= tolerance.absolute + tolerance.relative * Math.abs(should))) return [error, `off by ${error} at ${k}`];
    largest = Math.max(largest, error);
  }
  if (tolerance.top1) {
    const width = want.shape[want.shape.length - 1];
    for (let start = 0; start < want.data.length; start += width) {
      const recorded = [...want.data.slice(start, start + width)];
      const [have, should] = [best([...got.data.slice(start, start + width)]), best(recorded)];
      const [first, second] = recorded.sort((a, b) => b - a);
      const sure = first - second > tolerance.absolute + tolerance.relative * Math.abs(first);
      if (have !== should && sure) return [largest, `top-1 is ${have}, recorded is ${should}`];
    }
  }
  return [largest, null];
}

function best(values) {
  return values.reduce((place, value, k) => (value > values[place] ? k : place), 0);
}

function toTensor(ort, { type, data, shape }) {
  return new ort.Tensor(type, data, shape);
}

async function hash(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Return the arrays of an .npz: name → {type, data, shape}. Reads the zip's central directory; stored and deflated entries. */
export async function readNpz(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let end = bytes.length - 22;
  while (end >= 0 && view.getUint32(end, true) !== 0x06054b50) end -= 1;
  if (end < 0) throw new Error("golden.npz: not a zip file");
  const arrays = new Map();
  let entry = view.getUint32(end + 16, true);
  for (let count = view.getUint16(end + 10, true); count > 0; count -= 1) {
    const [method, packed, nameLength] = [view.getUint16(entry + 10, true), view.getUint32(entry + 20, true), view.getUint16(entry + 28, true)];
    const name = new TextDecoder().decode(bytes.subarray(entry + 46, entry + 46 + nameLength));
    const local = view.getUint32(entry + 42, true);
    const start = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    const body = bytes.subarray(start, start + packed);
    arrays.set(name.replace(/\.npy$/, ""), readNpy(method === 0 ? body : await inflate(body), name));
    entry += 46 + nameLength + view.getUint16(entry + 30, true) + view.getUint16(entry + 32, true);
  }
  return arrays;
}

async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Return {type, data, shape} of an .npy, numpy's format version 1 to 3. */
export function readNpy(bytes, name) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const wide = bytes[6] > 1;
  const start = (wide ? 12 : 10) + (wide ? view.getUint32(8, true) : view.getUint16(8, true));
  const header = new TextDecoder().decode(bytes.subarray(wide ? 12 : 10, start));
  const descr = /'descr': '([^']*)'/.exec(header)?.[1];
  const known = TYPES[descr];
  if (!known || !header.includes("'fortran_order': False")) throw new Error(`golden.npz: ${name} is ${descr}, which is not read here`);
  const shape = /'shape': \(([^)]*)\)/.exec(header)[1].split(",").filter((part) => part.trim()).map(Number);
  const data = new known[1](bytes.slice(start).buffer);
  return { type: known[0], data, shape };
}
