// The decode loop of a language model: the most likely token after a text, one after the other, with the cache that the graph returned.

import { Tokenizer } from "./text.mjs";

const ARRAYS = { float32: Float32Array, float16: Uint16Array };

export class LanguageModel {
  /** `session`: onnxruntime's; `generation`, `tokenizer`: the contents of generation.json and tokenizer.json. */
  constructor(ort, session, generation, tokenizer) {
    Object.assign(this, { ort, session, generation });
    this.tokenizer = new Tokenizer(tokenizer, Infinity);
    this.attend({});
    const { inputs, outputs, layers } = generation;
    const numbered = (name, layer) => name.replace("%d", layer);
    this.cache = Array.from({ length: layers }, (_, n) => ["key", "value"].map((part) => [numbered(inputs[`past_${part}`], n), numbered(outputs[`present_${part}`], n)])).flat();
  }

  /**
   * From now on give `constants` to every step, tensors by name such as what an encoder made, and choose tokens that `allowed(token,
   * count)` lets follow `count` others.
   */
  attend(constants, allowed = () => true) {
    Object.assign(this, { constants, allowed, held: null });
  }

  /** Yield pieces of the text that follows `prompt`, a text or token ids; `made` takes its tokens. Characters of several tokens are passed on whole. */
  async *stream(prompt, most = 256, made = []) {
    let said = "";
    for await (const token of this.tokens(typeof prompt === "string" ? this.tokenizer.encode(prompt).ids : prompt, most)) {
      made.push(token);
      const whole = this.tokenizer.decode(made);
      if (whole.endsWith("\ufffd")) continue;
      yield whole.slice(said.length);
      said = whole;
    }
    yield this.tokenizer.decode(made).slice(said.length);
  }

  /** Yield the most likely tokens after `prompt` (ids), up to one that ends the text. What the last call left in the cache is not read again. */
  async *tokens(prompt, most) {
    const { context, eos, suppress = [] } = this.generation;
    if (!prompt.length) throw new Error("the prompt is empty: write at least one character");
    if (prompt.length >= context) throw new Error(`the prompt has ${prompt.length} tokens, the model's context is ${context}`);
    const past = this.#heldFor(prompt);
    this.held = null; // until it is known how far this call came
    let next = prompt.slice(past.ids.length);
    for (let count = 0; count < Math.min(most, context - prompt.length); count += 1) {
      const token = best(await this.#run(next, past), (id) => !suppress.includes(id) && this.allowed(id, count));
      this.held = past;
      if (eos.includes(token)) return;
      yield token;
      next = [token];
    }
  }

  /**
   * Check golden.json: return {places, equal, close, problem}; tokens that led by no more than the tolerance are not judged.
   * `prepare(sample, index)` comes before each and says what is wrong with how its source is read here, or null.
   */
  async checkGolden(golden, prepare = () => null) {
    const found = { places: 0, equal: 0, close: 0, problem: null };
    const { suppress = [] } = this.generation;
    for (const [index, sample] of golden.samples.entries()) {
      const { prompt, tokens, margins } = sample;
      const unlike = await prepare(sample, index);
      if (unlike) found.problem ??= `sample ${index}: ${unlike}`;
      const past = this.#empty();
      let next = prompt;
      for (const [place, want] of tokens.entries()) {
        const have = best(await this.#run(next, past), (id) => !suppress.includes(id));
        found.places += 1;
        if (have === want) found.equal += 1;
        else if (margins[place] <= golden.tolerance) found.close += 1;
        else found.problem ??= `sample ${index}, token ${place}: ${have} instead of ${want}`;
        next = [want];
      }
    }
    return found;
  }

  #empty() {
    const { kv_heads: heads, head_size: size, cache_type: type } = this.generation;
    const tensors = this.cache.map(([name]) => [name, new this.ort.Tensor(type, new ARRAYS[type](0), [1, heads, 0, size])]);
    return { ids: [], tensors: Object.fromEntries(tensors) };
  }

  /** Return the cache of the last call where `prompt` goes on with what it holds, or an empty one. */
  #heldFor(prompt) {
    const { held } = this;
    return held && held.ids.length < prompt.length && held.ids.every((id, k) => id === prompt[k]) ? held : this.#empty();
  }

  /** Run `tokens` after what `past` holds, put the new cache into it, and return the logits after the last one. */
  async #run(tokens, past) {
    const { inputs, outputs } = this.generation;
    const total = past.ids.length + tokens.length;
    const whole = (values, dims) => new this.ort.Tensor("int64", BigInt64Array.from(values, BigInt), dims);
    const offered = {
      [inputs.tokens]: whole(tokens, [1, tokens.length]),
      [inputs.mask]: whole(Array(total).fill(1), [1, total]),
      [inputs.positions]: whole(tokens.map((_, k) => past.ids.length + k), [1, tokens.length]),
    };
    const feeds = Object.fromEntries(Object.entries(offered).filter(([name]) => this.session.inputNames.includes(name)));
    const made = await this.session.run({ ...feeds, ...this.constants, ...past.tensors });
    past.ids = [...past.ids, ...tokens];
    past.tensors = Object.fromEntries(this.cache.map(([before, after]) => [before, made[after]]));
    const { data, dims } = made[outputs.logits];
    return data.subarray(data.length - dims.at(-1));
  }
}

/** Return what is wrong with token ids that a text has here, or null; `recorded` are those that it had. */
export function otherTokens(ids, recorded) {
  return ids.join() === recorded.join() ? null : "its text has other tokens here";
}

/** Return the allowed place of the largest of `logits`; those of half precision come as their bits in a Uint16Array. */
function best(logits, allowed) {
  const values = logits instanceof Uint16Array ? Int16Array.from(logits, (bits) => (bits < 0x8000 ? bits : 0x8000 - bits)) : logits;
  let place = -1;
  for (let k = 0; k < values.length; k += 1) if ((place < 0 || values[k] > values[place]) && allowed(k)) place = k;
  return place;
}
