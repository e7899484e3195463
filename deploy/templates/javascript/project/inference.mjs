// A bundle as a function, in a browser or in Node: raw data → model inputs → onnxruntime → a named answer.
//
//     const bundle = await openBundle(ort, read, { pixels });
//     const answer = await bundle.predict(raw);      // a text, two texts, or the bytes of a file
//
// `read(name)` gives a file of the bundle as bytes; `pixels(bytes)` decodes an image to {data: RGB bytes, width, height}. What
// happens is what bundle.json says; the reference, in Python, is the bundle's folder `inference`.

import { audioInput, readWav } from "./audio.mjs";
import { inside, open, parsed, readNpy, readNpz } from "./bundle.mjs";
import { checkGolden, decode } from "./decoding.mjs";
import { imageInput } from "./images.mjs";
import { Tokenizer } from "./text.mjs";

const ARRAYS = {
  float32: Float32Array, float64: Float64Array, int64: BigInt64Array, uint64: BigUint64Array, int32: Int32Array, uint32: Uint32Array,
  int16: Int16Array, uint16: Uint16Array, int8: Int8Array, uint8: Uint8Array, bool: Uint8Array, float16: globalThis.Float16Array ?? Uint16Array,
};
const DEFAULTS = { image: { letterbox: false, pad: [114], pad_position: "centre" }, tokenizer: { pair: false } };

/** Open the bundle whose files `read` gives. */
export async function openBundle(ort, read, options = {}) {
  const manifest = parsed(await read("bundle.json"), "bundle.json");
  if (manifest.schema_version !== 2) throw new Error(`bundle.json: schema version ${manifest.schema_version}, this program reads 2`);
  const files = new Map();
  for (const name of [manifest.model.file, ...manifest.model.external_data]) files.set(name, await read(inside(name)));
  const session = options.session ?? (await open(ort, manifest, files, options.providers));
  const steps = { ...DEFAULTS[manifest.preprocessing.kind], ...manifest.preprocessing };
  let tokenizer = null;
  if (steps.kind === "tokenizer") {
    const settings = parsed(await read(inside(steps.file)), steps.file);
    tokenizer = new Tokenizer(settings, steps.max_length);
  }
  return new Bundle(ort, manifest, steps, session, tokenizer, options.pixels);
}

export class Bundle {
  constructor(ort, manifest, steps, session, tokenizer, pixels) {
    Object.assign(this, { ort, manifest, steps, session, tokenizer, pixels });
  }

  /** Return the answer for a raw input: a text, two texts, or the bytes of a file. */
  async predict(raw) {
    const { feeds, context } = await this.prepare(raw);
    return decode(this.manifest.decoding, await this.run(feeds), { labels: this.manifest.labels, ...context });
  }

  /** Put the golden raw inputs through the model: return {count, problems}, a line for each that gives another answer. */
  async checkGolden(read) {
    const problems = await checkGolden(this.manifest, read, (raw) => this.predict(raw));
    return { count: (this.manifest.golden.raw ?? []).length, problems };
  }

  /** Return {feeds, context}: the model's inputs by name, and what decoding needs. */
  async prepare(raw) {
    switch (this.steps.kind) {
      case "image": {
        const image = isNpy(raw) ? ofNpy(raw) : await this.pixels(shallow(bytesOf(raw)));
        const { data, shape, placement } = imageInput(image, this.steps);
        return { feeds: { [this.#input()]: this.#tensor(this.#input(), data, shape) }, context: { placement } };
      }
      case "audio": {
        const { samples, rate } = isNpy(raw) ? { samples: Float64Array.from(readNpy(raw, "input").data), rate: this.steps.rate } : readWav(bytesOf(raw));
        const { data, shape } = audioInput(samples, rate, this.steps);
        return { feeds: { [this.#input()]: this.#tensor(this.#input(), data, shape) }, context: {} };
      }
      case "tokenizer":
        return this.#texts(raw);
      default:
        return { feeds: await this.#arrays(bytesOf(raw)), context: {} };
    }
  }

  #texts(raw) {
    const parts = Array.isArray(raw) ? raw : [raw];
    if (!parts.every((part) => typeof part === "string")) throw new Error("this model takes a text");
    if (parts.length !== (this.steps.pair ? 2 : 1)) throw new Error(`this model takes ${this.steps.pair ? "two texts" : "one text"}, not ${parts.length}`);
    const encoded = this.tokenizer.encode(parts[0], parts[1]);
    const axis = this.manifest.inputs.find((tensor) => tensor.name === this.steps.input_ids)?.shape.at(-1);
    const length = Number.isInteger(axis) && axis > 0 ? axis : encoded.ids.length;
    const padded = (values, fill) => [...values, ...new Array(length - values.length).fill(fill)];
    const mask = padded(encoded.ids.map(() => 1), 0);
    const feeds = {};
    for (const [key, values] of [["input_ids", padded(encoded.ids, this.steps.padding)], ["attention_mask", mask], ["token_type_ids", padded(encoded.types, 0)]]) {
      const name = this.steps[key];
      if (this.manifest.inputs.some((tensor) => tensor.name === name)) feeds[name] = this.#tensor(name, values, [1, length]);
    }
    return { feeds, context: { mask, tokens: { text: parts.at(-1), offsets: encoded.offsets, sequences: encoded.sequences }, toText: (ids) => this.tokenizer.decode(ids) } };
  }

  async #arrays(bytes) {
    const isOne = isNpy(bytes);
    const arrays = isOne ? null : await readNpz(bytes);
    const one = isOne ? readNpy(bytes, "input") : null;
    return Object.fromEntries(this.manifest.inputs.map(({ name }) => {
      const array = one ?? arrays.get(name);
      if (!array) throw new Error(`there is no array '${name}'`);
      return [name, this.#tensor(name, array.data, array.shape)];
    }));
  }

  #input() {
    return this.steps.input ?? this.manifest.inputs[0].name;
  }

  #tensor(name, values, shape) {
    const { dtype } = this.manifest.inputs.find((tensor) => tensor.name === name);
    if (dtype === "object") return new this.ort.Tensor("string", [...values].map(String), shape);
    const Type = ARRAYS[dtype];
    if (!Type) throw new Error(`input '${name}' is ${dtype}, which is not made here`);
    const big = Type === BigInt64Array || Type === BigUint64Array;
    let data = values instanceof Type ? values : big ? Type.from(values, (value) => BigInt(value)) : Type.from(values, Number);
    if (dtype === "float16" && !globalThis.Float16Array) data = Uint16Array.from(values, toHalf);
    return new this.ort.Tensor(dtype, data, shape);
  }

  /** Return the outputs by name: {data: numbers (or texts), shape, dtype}; a streaming model runs once for each chunk. */
  async run(feeds) {
    const constants = {};
    for (const [name, value] of Object.entries(this.steps.constants ?? {})) {
      const shape = this.#shape(name);
      constants[name] = this.#tensor(name, new Array(shape.reduce((a, b) => a * b, 1)).fill(value), shape);
    }
    if (!this.steps.chunk) return this.#read(await this.session.run({ ...feeds, ...constants }));
    return this.#stream(feeds, constants);
  }

  #shape(name) {
    return this.manifest.inputs.find((tensor) => tensor.name === name).shape.map((axis) => (typeof axis === "string" ? 1 : axis));
  }

  async #stream(feeds, constants) {
    const [[name, tensor]] = Object.entries(feeds);
    const { chunk, context, states: links } = this.steps;
    const samples = new Float32Array(context + Math.ceil(tensor.data.length / chunk) * chunk);
    samples.set(tensor.data, context);
    let states = {};
    for (const state of Object.keys(links)) {
      const shape = this.#shape(state);
      states[state] = this.#tensor(state, new Array(shape.reduce((a, b) => a * b, 1)).fill(0), shape);
    }
    const collected = [];
    for (let start = 0; start < samples.length - context; start += chunk) {
      const part = samples.slice(start, start + context + chunk);
      const outputs = await this.session.run({ [name]: this.#tensor(name, part, [...tensor.dims.slice(0, -1), part.length]), ...states, ...constants });
      states = Object.fromEntries(Object.entries(links).map(([state, output]) => [state, outputs[output]]));
      collected.push(this.#read(outputs));
    }
    const kept = this.manifest.outputs.map(({ name: output }) => output).filter((output) => !Object.values(links).includes(output));
    return new Map(kept.map((output) => {
      const parts = collected.map((outputs) => outputs.get(output));
      return [output, { ...parts[0], data: parts.flatMap((part) => part.data), shape: [1, parts.length, ...parts[0].shape.slice(1)] }];
    }));
  }

  #read(outputs) {
    return new Map(this.manifest.outputs.map(({ name, dtype }) => {
      const { data, dims, type } = outputs[name];
      const half = type === "float16" && data instanceof Uint16Array;
      const numbers = type === "string" ? [...data] : Array.from(data, half ? ofHalf : Number);
      return [name, { data: numbers, shape: [...dims], dtype }];
    }));
  }
}

function bytesOf(raw) {
  if (raw instanceof Uint8Array) return raw;
  throw new Error("this model takes the bytes of a file");
}

/** Return the bytes of an image; a grey PNG of 16 bits is refused: here its upper bytes would be read, and Pillow clips to 255. */
function shallow(bytes) {
  if (bytes[0] === 0x89 && bytes[1] === 0x50 && bytes[24] === 16 && bytes[25] === 0) throw new Error("a grey PNG of 16 bits is not read here; save it with 8");
  return bytes;
}

function isNpy(raw) {
  return raw instanceof Uint8Array && raw[0] === 0x93 && raw[1] === 0x4e;
}

function ofNpy(bytes) {
  const { data, shape } = readNpy(bytes, "input");
  if (!(data instanceof Uint8Array) || shape.length < 2) throw new Error("an image is uint8 [height, width, 3]");
  const [height, width, channels = 1] = shape;
  const rgb = channels === 3 ? data : Uint8Array.from({ length: height * width * 3 }, (_, k) => data[Math.floor(k / 3) * channels]);
  return { data: rgb, width, height };
}

function ofHalf(bits) {
  const [sign, exponent, fraction] = [bits & 0x8000 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return exponent === 31 ? (fraction ? NaN : sign * Infinity) : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

function toHalf(value) {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (Number.isNaN(size)) return 0x7e00;
  if (size >= 65520) return sign | 0x7c00;
  const exponent = Math.max(-14, Math.floor(Math.log2(size || 1e-30)));
  const scaled = size / 2 ** (exponent - 10);
  let fraction = Math.floor(scaled);
  if (scaled - fraction > 0.5 || (scaled - fraction === 0.5 && fraction % 2)) fraction += 1;
  return sign | (exponent === -14 && fraction < 1024 ? fraction : ((exponent + 15) << 10) + fraction - 1024);
}
