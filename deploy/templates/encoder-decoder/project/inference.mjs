// An encoder-decoder as a function, in a browser or in Node: a text or a recording (.wav) → the text that it answers, greedily.
//
//     const bundle = await openBundle(ort, read);
//     const { text } = await bundle.predict("translate English to German: Good morning.");
//
// `read(name)` gives a file of the bundle as bytes. The encoder reads a source once; what it made is an input of every step of the
// decoder, which is a language model otherwise (generate.mjs). The reference, in Python, is the bundle's folder `engine`.

import { features, readWav, resample } from "./audio.mjs";
import { inside, parsed, readNpz } from "./bundle.mjs";
import { LanguageModel, otherTokens } from "./generate.mjs";

const MOST = 256; // tokens of an answer; of speech, for each spectrogram
const HEARD = 1e-3; // how far a spectrogram may be from the recorded one
const EXAMPLE = "example.wav"; // the first golden source of a model that hears
const GENERATION_ONLY = ["forced_bos_token_id", "suppress_tokens", "begin_suppress_tokens", "bad_words_ids"];

/** Open the bundle whose files `read` gives. */
export async function openBundle(ort, read, { providers = ["wasm"] } = {}) {
  const values = async (name) => parsed(await read(name), name);
  const manifest = await values("bundle.json");
  if (manifest.schema_version !== 2) throw new Error(`bundle.json: schema version ${manifest.schema_version}, this program reads 2`);
  const paths = manifest.files.map(({ path }) => inside(path));
  const ifThere = async (name) => (paths.includes(name) ? values(name) : {});
  const half = async (name) => {
    const data = paths.filter((path) => manifest.model.external_data.includes(path) && path.startsWith(`${name}/`));
    const externalData = await Promise.all(data.map(async (path) => ({ path: path.slice(name.length + 1), data: await read(path) })));
    return ort.InferenceSession.create(await read(`${name}/model.onnx`), { executionProviders: providers, externalData, logSeverityLevel: 3 });
  };
  const [encoder, decoder] = [await half("encoder"), await half("decoder")];
  const model = new LanguageModel(ort, decoder, await values("generation.json"), await values("decoder/tokenizer.json"));
  const [config, generation, hearing] = await Promise.all(["config", "generation_config", "preprocessor_config"].map((name) => ifThere(`decoder/${name}.json`)));
  return new EncoderDecoder(ort, manifest, encoder, model, configuration(config, generation), hearing);
}

export class EncoderDecoder {
  constructor(ort, manifest, encoder, model, config, hearing) {
    Object.assign(this, { ort, manifest, encoder, model, config });
    const { sampling_rate: rate = 16000, n_fft: window = 400, hop_length: hop = 160, feature_size: mels = 80, chunk_length: seconds = 30 } = hearing;
    this.hearing = { rate, window, hop, mels, samples: rate * seconds };
    this.hears = encoder.inputNames.includes("input_features");
    this.steps = this.hears ? { kind: "audio", rate } : { kind: "tokenizer", pair: false };
  }

  /** Return the answer to a text, or what is said in the bytes of a .wav file. */
  async predict(raw) {
    let text = "";
    for (const feeds of this.read(raw)) {
      await this.#encode(feeds);
      for await (const piece of this.model.stream(await this.#prompt(), MOST)) text += piece;
    }
    return { kind: "text", text };
  }

  /** Check golden.json and how its sources are read here: return {count, problems}. */
  async checkGolden(read) {
    const golden = parsed(await read("golden.json"), "golden.json");
    const arrays = await readNpz(await read("golden.npz"));
    const { problem } = await this.model.checkGolden(golden, async ({ text }, index) => {
      const recorded = Object.fromEntries(this.encoder.inputNames.map((name) => [name, arrays.get(`${index}.${name}`)]));
      await this.#encode(Object.fromEntries(Object.entries(recorded).map(([name, { type, data, shape }]) => [name, new this.ort.Tensor(type, data, shape)])));
      if (!this.hears) return otherTokens(this.read(text)[0].input_ids.data, recorded.input_ids.data);
      return index ? null : otherSound(this.read(await read(EXAMPLE))[0].input_features.data, recorded.input_features.data);
    });
    return { count: golden.samples.length, problems: problem ? [problem] : [] };
  }

  /** Return inputs of the encoder, tensors by name: one list for a text, one for each part of a recording. */
  read(raw) {
    if (this.hears) return this.#spectrograms(raw);
    if (typeof raw !== "string") throw new Error("this model takes a text");
    const { ids } = this.model.tokenizer.encode(raw);
    const longest = this.config.max_position_embeddings;
    if (!ids.length) throw new Error("the text is empty: write at least one character");
    if (ids.length > longest) throw new Error(`the text has ${ids.length} tokens, the model reads at most ${longest}`);
    const whole = (values) => new this.ort.Tensor("int64", BigInt64Array.from(values, BigInt), [1, ids.length]);
    const offered = { input_ids: whole(ids), attention_mask: whole(ids.map(() => 1)) };
    return [Object.fromEntries(Object.entries(offered).filter(([name]) => this.encoder.inputNames.includes(name)))];
  }

  #spectrograms(raw) {
    if (!(raw instanceof Uint8Array)) throw new Error("this model takes the bytes of a .wav file");
    const { rate, samples: size } = this.hearing;
    const { samples, rate: given } = readWav(raw);
    const heard = resample(samples, given, rate);
    if (!heard.length) throw new Error("the recording holds no sound");
    return Array.from({ length: Math.ceil(heard.length / size) }, (_, k) => {
      const { data, shape } = logMel(heard.subarray(k * size, (k + 1) * size), this.hearing);
      return { input_features: new this.ort.Tensor("float32", data, shape) };
    });
  }

  /** Let the decoder attend to what the encoder makes of its inputs. */
  async #encode(feeds) {
    const made = { ...(await this.encoder.run(feeds)), encoder_attention_mask: feeds.attention_mask };
    const constants = Object.entries(made).filter(([name, tensor]) => tensor && this.model.session.inputNames.includes(name));
    const { suppress_tokens: tokens, bad_words_ids: words, begin_suppress_tokens: begin } = this.config;
    const never = new Set([...(tokens ?? []), ...(words ?? []).filter((word) => word.length === 1).flat()]);
    const first = new Set(begin ?? []);
    this.model.attend(Object.fromEntries(constants), (id, count) => !never.has(id) && (count > 0 || !first.has(id)));
  }

  /** Return the tokens that the decoder begins with: a start, and where the model has several, language and task. */
  async #prompt() {
    const { decoder_start_token_id: start, forced_bos_token_id: forced, lang_to_id: languages = {}, task_to_id: tasks, no_timestamps_token_id: silent } = this.config;
    if (!Number.isInteger(start)) throw new Error("the model's configuration has no decoder_start_token_id");
    const known = new Set(Object.values(languages));
    const spoken = known.size ? [await this.#language(start, known), tasks?.transcribe] : [];
    return [start, forced, ...spoken, silent].filter(Number.isInteger);
  }

  /** Return the most likely of the tokens of `known` languages. */
  async #language(start, known) {
    const { constants, allowed } = this.model;
    this.model.attend(constants, (id) => known.has(id));
    const { value } = await this.model.tokens([start], 1).next();
    this.model.attend(constants, allowed);
    return value;
  }
}

/** Return both configurations as one; as in transformers, what only generation reads counts where generation has a file. */
function configuration(config, generation) {
  const left = Object.entries(config).filter(([name]) => !(GENERATION_ONLY.includes(name) && Object.keys(generation).length));
  return Object.fromEntries([...left, ...Object.entries(generation)].filter(([, value]) => value !== null));
}

/** Return {data, shape} of the spectrogram of up to `samples` samples, padded with silence; the frame behind the end is none of it. */
function logMel(part, { rate, window, hop, mels, samples }) {
  const [half, frames] = [window >> 1, Math.floor(samples / hop)];
  const sound = new Float64Array(samples);
  sound.set(part);
  const padded = Float64Array.from({ length: window + (frames - 1) * hop }, (_, k) => {
    const at = Math.abs(k - half);
    return sound[at < samples ? at : 2 * (samples - 1) - at];
  });
  const plain = { normalise: false, mean: 0, std: 1, frames: null, layout: "bands-time" };
  const mel = { mels, low: 0, high: null, scale: "slaney", area: true, log: "whisper", floor: 1e-10 };
  const made = features(padded, rate, { frame: window, fft: window, hop, centre: false, window: "hann", power: 2, ...mel, ...plain });
  return { data: Float32Array.from(made.values), shape: [1, ...made.shape] };
}

/** Return what is wrong with a spectrogram that was made here, or null. */
function otherSound(made, recorded) {
  const far = made.length === recorded.length ? recorded.reduce((most, value, k) => Math.max(most, Math.abs(value - made[k])), 0) : Infinity;
  return far <= HEARD ? null : `its spectrogram is off by ${far.toPrecision(3)} here`;
}
