// Tokenizers other than BERT's, as a tokenizer.json describes them: normalizers, pre-tokenizers, the models BPE (byte-level or with
// byte fallback) and Unigram, decoders. Ids and offsets are those of the package tokenizers.
//
// A text is a list of characters [char, start, end]: what it has become, and the characters (code points) it comes from.

const SPACE = /\p{White_Space}/u;
const BYTES = new Map(alphabet());
const CHARS = new Map([...BYTES].map(([byte, char]) => [char, byte]));
const utf8 = new TextEncoder();
const reader = new TextDecoder("utf-8", { ignoreBOM: true });

/** Yield [byte, character] of byte-level BPE: every byte as a character that can be seen. */
function* alphabet() {
  let next = 256;
  for (let byte = 0; byte < 256; byte += 1) {
    const seen = (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
    yield [byte, String.fromCodePoint(seen ? byte : next++)];
  }
}

export class Pipeline {
  constructor(settings) {
    this.settings = settings;
    const { model } = settings;
    if (model.type === "BPE") this.model = new Bpe(model);
    else if (model.type === "Unigram") this.model = new Unigram(model);
    else if (model.type === "WordPiece") this.model = new WordPiece(model);
    else throw new Error(`a tokenizer of the kind ${model.type} is not read here`);
    const added = [...(settings.added_tokens ?? [])].sort((a, b) => b.content.length - a.content.length);
    this.plain = added.filter((token) => !token.normalized);
    this.normalized = added.filter((token) => token.normalized).map((token) => ({ ...token, content: this.#normalize(chars(token.content)).map(([char]) => char).join("") }));
  }

  /** Return [id, start, end] of every token of a text, without those of the template. */
  pieces(text) {
    const found = [];
    for (const [part, token] of cut(chars(text), this.plain)) {
      if (token) found.push(special(part, token));
      else for (const [inner, known] of cut(this.#normalize(part), this.normalized)) {
        if (known) found.push(special(inner, known));
        else if (inner.length) for (const word of pretokenized([inner], this.settings.pre_tokenizer)) if (word.length) found.push(...this.model.pieces(word));
      }
    }
    return found;
  }

  #normalize(part) {
    return part.length ? normalized(part, this.settings.normalizer) : part;
  }

  /** Return the text of token ids, without special tokens. */
  decode(ids) {
    const hidden = new Set((this.settings.added_tokens ?? []).filter((token) => token.special).map((token) => token.id));
    const names = new Map((this.settings.added_tokens ?? []).map((token) => [token.id, token.content]));
    const words = ids.filter((id) => !hidden.has(id)).map((id) => names.get(id) ?? this.model.names[id]).filter((word) => word !== undefined); // (a model may have more tokens than its tokenizer)
    return decoded(words, this.settings.decoder ?? null).join(this.settings.decoder ? "" : " ");
  }
}

function chars(text) {
  return [...text].map((char, place) => [char, place, place + 1]);
}

function special(part, token) {
  return [token.id, part[0][1], part.at(-1)[2], part.map(([char]) => char).join("")];
}

/** Yield [characters, added token or null]; a token takes the white space beside it where it says so. */
function* cut(text, tokens) {
  let start = 0;
  for (let at = 0; at < text.length; ) {
    const token = tokens.find(({ content, single_word: alone }) => {
      const wanted = [...content];
      const fits = wanted.length > 0 && wanted.every((char, k) => text[at + k]?.[0] === char);
      const letter = (place) => /[\p{L}\p{N}_]/u.test(text[place]?.[0] ?? " ");
      return fits && !(alone && (letter(at - 1) || letter(at + wanted.length)));
    });
    if (!token) { at += 1; continue; }
    let [first, last] = [at, at + [...token.content].length];
    if (token.lstrip) while (first > start && SPACE.test(text[first - 1][0])) first -= 1;
    if (token.rstrip) while (last < text.length && SPACE.test(text[last][0])) last += 1;
    if (first > start) yield [text.slice(start, first), null];
    yield [text.slice(first, last), token];
    start = at = last;
  }
  if (start < text.length) yield [text.slice(start), null];
}

/** Return other text in the place of characters; what was left out counts to the first of them. */
function replacing(text, content) {
  const found = [...content];
  const less = Math.max(0, text.length - found.length);
  return found.map((char, k) => [char, ...text[k ? Math.min(k + less, text.length - 1) : 0].slice(1)]);
}

function normalized(text, options) {
  if (!options) return text;
  switch (options.type) {
    case "Sequence": return options.normalizers.reduce(normalized, text);
    case "NFC": case "NFD": case "NFKC": case "NFKD": return composed(text, options.type);
    case "Lowercase": return text.flatMap((one) => replacing([one], [...one[0]].map((char) => char.toLowerCase()).join("")));
    case "StripAccents": return text.filter(([char]) => !/\p{M}/u.test(char));
    case "Strip": {
      let [from, to] = [0, text.length];
      if (options.strip_left) while (from < to && SPACE.test(text[from][0])) from += 1;
      if (options.strip_right) while (to > from && SPACE.test(text[to - 1][0])) to -= 1;
      return text.slice(from, to);
    }
    case "Prepend": return text.length ? [...[...options.prepend].map((char) => [char, text[0][1], text[0][2]]), ...text] : text;
    case "Replace": return matches(text, options.pattern).flatMap(([part, hit]) => {
      if (!hit) return part;
      return [...options.content].map((char) => [char, ...part.at(-1).slice(1)]);
    });
    case "Precompiled": return precompiled(text, charsmap(options));
    case "ByteLevel": return bytes(text);
    case "BertNormalizer": return bert(text, options);
    case "Nmt": return text.filter(([char]) => !/[\x01-\x08\x0b\x0e-\x1f\x7f\x8f\x9f]/.test(char))
      .map(([char, ...place]) => [/[\t\n\f\r\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]/.test(char) ? " " : char, ...place]);
    default: throw new Error(`a normalizer of the kind ${options.type} is not read here`);
  }
}

/** Return the text in a form of Unicode, one base character with its marks after the other. */
function composed(text, form) {
  const result = [];
  for (let start = 0; start < text.length; ) {
    let end = start + 1;
    while (end < text.length && /[\p{M}\u1160-\u11ff\uff9e\uff9f]/u.test(text[end][0])) end += 1;
    const part = text.slice(start, end);
    result.push(...replacing(part, part.map(([char]) => char).join("").normalize(form)));
    start = end;
  }
  return result;
}

function bert(text, options) {
  let result = text;
  if (options.clean_text) {
    result = result.filter(([char]) => "\t\n\r".includes(char) || !/[\0\ufffd\p{Cc}\p{Cf}\p{Co}\p{Cs}]/u.test(char)).map(([char, ...place]) => [SPACE.test(char) ? " " : char, ...place]);
  }
  if (options.handle_chinese_chars) {
    const chinese = /[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u{20000}-\u{2a6df}\u{2a700}-\u{2b81f}\u{2b920}-\u{2ceaf}\u{2f800}-\u{2fa1f}]/u;
    result = result.flatMap((one) => (chinese.test(one[0]) ? [[" ", one[1], one[2]], one, [" ", one[1], one[2]]] : [one]));
  }
  if (options.strip_accents ?? options.lowercase) result = composed(result, "NFD").filter(([char]) => !/\p{Mn}/u.test(char));
  return options.lowercase ? normalized(result, { type: "Lowercase" }) : result;
}

/** Read SentencePiece's map of characters: a double array whose values are places in a text of replacements. */
function charsmap(options) {
  if (!options.map) {
    const raw = Uint8Array.from(atob(options.precompiled_charsmap ?? ""), (char) => char.charCodeAt(0));
    const size = raw.length > 4 ? new DataView(raw.buffer).getUint32(0, true) : 0;
    const whole = 4 + size <= raw.length && size % 4 === 0;
    Object.defineProperty(options, "map", { value: { units: new Uint32Array(raw.slice(4, whole ? 4 + size : 4).buffer), texts: raw.slice(4 + size) } });
  }
  return options.map;
}

/** Return what the shortest beginning of `part` that the map knows becomes, or null. */
function mapped({ units, texts }, part) {
  if (!units.length) return null;
  const next = (unit) => (unit >>> 10) << ((unit & 512) >>> 6);
  let place = next(units[0]);
  for (const byte of utf8.encode(part)) {
    if (byte === 0) return null;
    place ^= byte;
    const unit = units[place];
    if (unit === undefined || ((unit & 0x800000ff) >>> 0) !== byte) return null;
    place ^= next(unit);
    if ((unit >>> 8) & 1) {
      const start = units[place] & 0x7fffffff;
      const end = texts.indexOf(0, start);
      return reader.decode(texts.subarray(start, end < 0 ? texts.length : end));
    }
  }
  return null;
}

const graphemes = new Intl.Segmenter("und", { granularity: "grapheme" });

function precompiled(text, map) {
  const result = [];
  let at = 0;
  for (const { segment } of graphemes.segment(text.map(([char]) => char).join(""))) {
    const part = text.slice(at, at + [...segment].length);
    at += part.length;
    const whole = utf8.encode(segment).length < 6 ? mapped(map, segment) : null;
    if (whole !== null) result.push(...replacing(part, whole));
    else for (const one of part) result.push(...replacing([one], mapped(map, one[0]) ?? one[0]));
  }
  return result;
}

function bytes(text) {
  return text.flatMap(([char, ...place]) => [...utf8.encode(char)].map((byte) => [BYTES.get(byte), ...place]));
}

/** Return a pattern of a tokenizer.json as a regular expression of JavaScript. */
export function expression(pattern) {
  if (pattern.String !== undefined) return new RegExp(pattern.String.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&"), "gu");
  let source = pattern.Regex.replace(/\(\?i:([^()]*)\)/g, (_, inner) => `(?:${inner.replace(/[a-z]/gi, (c) => `[${c.toLowerCase()}${c.toUpperCase()}]`)})`);
  source = source.replace(/([?*+]|\{\d+(?:,\d*)?\})\+/g, "$1").replace(/\\s/g, "\\p{White_Space}").replace(/\\S/g, "\\P{White_Space}");
  source = source.replace(/\\d/g, "\\p{Nd}").replace(/\\([^\w^$\\.*+?()[\]{}|/-])/g, "$1");
  return new RegExp(source, "gu");
}

const compiled = new Map();

/** Return [part, whether it matches] for the whole text, in order. */
function matches(text, pattern) {
  const key = JSON.stringify(pattern);
  if (!compiled.has(key)) compiled.set(key, expression(pattern));
  const places = [];
  text.forEach(([char], k) => { for (let unit = 0; unit < char.length; unit += 1) places.push(k); });
  places.push(text.length);
  const found = [];
  let start = 0;
  for (const { index, 0: hit } of text.map(([char]) => char).join("").matchAll(compiled.get(key))) {
    const [from, to] = [places[index], places[index + hit.length]];
    if (to === from) continue;
    if (from > start) found.push([text.slice(start, from), false]);
    found.push([text.slice(from, to), true]);
    start = to;
  }
  if (start < text.length) found.push([text.slice(start), false]);
  return found;
}

function split(text, pattern, behavior, invert) {
  const parts = matches(text, pattern).map(([part, hit]) => [part, hit !== Boolean(invert)]);
  const joined = (list, join) => {
    const result = [];
    let before = false;
    for (const [part, hit] of list) {
      if (hit && !before && result.length) result[result.length - 1] = join(result.at(-1), part);
      else result.push(part);
      before = hit;
    }
    return result;
  };
  switch (behavior) {
    case "Removed": return parts.filter(([, hit]) => !hit).map(([part]) => part);
    case "Isolated": return parts.map(([part]) => part);
    case "MergedWithPrevious": return joined(parts, (a, b) => [...a, ...b]);
    case "MergedWithNext": return joined(parts.reverse(), (a, b) => [...b, ...a]).reverse();
    case "Contiguous": {
      const result = [];
      parts.forEach(([part, hit], k) => { if (k && parts[k - 1][1] === hit) result[result.length - 1] = [...result.at(-1), ...part]; else result.push(part); });
      return result;
    }
    default: throw new Error(`a split of the kind ${behavior} is not read here`);
  }
}

const GPT2 = { Regex: "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+" };
const PUNCTUATION = { Regex: "[\\p{P}!-/:-@\\[-`{-~]" };
const before = (text, char) => [[char, text[0][1], text[0][2]], ...text];

function pretokenized(words, options) {
  if (!options) return words;
  const each = (step) => words.flatMap((word) => (word.length ? step(word) : []));
  switch (options.type) {
    case "Sequence": return options.pretokenizers.reduce(pretokenized, words);
    case "ByteLevel": return each((word) => {
      const text = options.add_prefix_space && !SPACE.test(word[0][0]) ? before(word, " ") : word;
      const parts = options.use_regex === false ? [text] : split(text, GPT2, "Isolated");
      return parts.map(bytes);
    });
    case "Metaspace": return each((word) => {
      const mark = options.replacement ?? "\u2581";
      let text = word.map(([char, ...place]) => [char === " " ? mark : char, ...place]);
      const scheme = options.prepend_scheme ?? (options.add_prefix_space === false ? "never" : "always");
      if ((scheme === "always" || (scheme === "first" && text[0][1] === 0)) && text[0][0] !== mark) text = before(text, mark);
      return options.split === false ? [text] : split(text, { String: mark }, "MergedWithNext");
    });
    case "Whitespace": return each((word) => split(word, { Regex: "[\\p{L}\\p{M}\\p{Nd}\\p{Pc}]+|[^\\p{L}\\p{M}\\p{Nd}\\p{Pc}\\s]+" }, "Removed", true));
    case "WhitespaceSplit": return each((word) => split(word, { Regex: "\\s" }, "Removed"));
    case "Split": return each((word) => split(word, options.pattern, options.behavior, options.invert));
    case "Digits": return each((word) => split(word, { Regex: "\\p{N}" }, options.individual_digits ? "Isolated" : "Contiguous"));
    case "Punctuation": return each((word) => split(word, PUNCTUATION, options.behavior ?? "Isolated"));
    case "BertPreTokenizer": return each((word) => split(word, { Regex: "\\s" }, "Removed").flatMap((part) => split(part, PUNCTUATION, "Isolated")));
    default: throw new Error(`a pre-tokenizer of the kind ${options.type} is not read here`);
  }
}

const byteName = (byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;

class Bpe {
  constructor(model) {
    this.options = model;
    this.vocabulary = new Map(Object.entries(model.vocab));
    this.names = [];
    for (const [word, id] of this.vocabulary) this.names[id] = word;
    this.ranks = new Map(model.merges.map((pair, rank) => [Array.isArray(pair) ? pair.join("\u0000") : pair.replace(" ", "\u0000"), rank]));
  }

  pieces(word) {
    const { vocabulary, options } = this;
    const whole = word.map(([char]) => char).join("");
    if (options.ignore_merges && vocabulary.has(whole)) return [[vocabulary.get(whole), word[0][1], word.at(-1)[2]]];
    const parts = this.#merged(word.map(([char, start, end], k) => {
      const prefix = k && options.continuing_subword_prefix ? options.continuing_subword_prefix : "";
      return [prefix + char + (k === word.length - 1 && options.end_of_word_suffix ? options.end_of_word_suffix : ""), start, end];
    }));
    const found = [];
    let unknown = false;
    for (const [text, start, end] of parts) {
      const id = vocabulary.get(text);
      const fallback = id === undefined && options.byte_fallback ? [...utf8.encode(text)].map((byte) => vocabulary.get(byteName(byte))) : null;
      if (id !== undefined) found.push([id, start, end]);
      else if (fallback && fallback.every((one) => one !== undefined)) for (const one of fallback) found.push([one, start, end]);
      else if (options.unk_token != null) {
        if (unknown && options.fuse_unk) found[found.length - 1][2] = end;
        else found.push([vocabulary.get(options.unk_token), start, end]);
        unknown = true;
        continue;
      }
      unknown = false;
    }
    return found;
  }

  /** Join the pair of the lowest rank, the first of those, until none is left. */
  #merged(parts) {
    const { continuing_subword_prefix: prefix } = this.options;
    const [next, before] = [parts.map((_, k) => k + 1), parts.map((_, k) => k - 1)];
    const known = (part) => this.vocabulary.has(part[0]);
    const heap = new Heap();
    const add = (k) => {
      const right = next[k];
      if (right >= parts.length || !known(parts[k]) || !known(parts[right])) return;
      const rank = this.ranks.get(`${parts[k][0]}\u0000${parts[right][0]}`);
      if (rank !== undefined) heap.push([rank, k, parts[k][0], parts[right][0]]);
    };
    for (let k = 0; k + 1 < parts.length; k += 1) add(k);
    for (let top = heap.pop(); top; top = heap.pop()) {
      const [, k, left, right] = top;
      const other = next[k];
      if (parts[k] === null || other >= parts.length || parts[k][0] !== left || parts[other][0] !== right) continue;
      parts[k] = [left + (prefix ? right.slice(prefix.length) : right), parts[k][1], parts[other][2]];
      parts[other] = null;
      next[k] = next[other];
      if (next[k] < parts.length) before[next[k]] = k;
      if (before[k] >= 0) add(before[k]);
      add(k);
    }
    return parts.filter((part) => part !== null);
  }
}

/** A heap of [rank, place, …], the smallest first. */
class Heap {
  items = [];

  #less(a, b) {
    const [x, y] = [this.items[a], this.items[b]];
    return x[0] < y[0] || (x[0] === y[0] && x[1] < y[1]);
  }

  #swap(a, b) {
    [this.items[a], this.items[b]] = [this.items[b], this.items[a]];
  }

  push(item) {
    this.items.push(item);
    for (let k = this.items.length - 1; k && this.#less(k, (k - 1) >> 1); k = (k - 1) >> 1) this.#swap(k, (k - 1) >> 1);
  }

  pop() {
    const [top, last] = [this.items[0], this.items.pop()];
    if (!this.items.length) return top;
    this.items[0] = last;
    for (let k = 0; ; ) {
      let least = k;
      for (const child of [2 * k + 1, 2 * k + 2]) if (child < this.items.length && this.#less(child, least)) least = child;
      if (least === k) return top;
      this.#swap(k, least);
      k = least;
    }
  }
}

class Unigram {
  constructor(model) {
    this.options = model;
    this.scores = new Map();
    this.names = model.vocab.map(([word]) => word);
    model.vocab.forEach(([word, score], id) => { if (!this.scores.has(word)) this.scores.set(word, [id, score]); });
    this.longest = this.names.reduce((most, word) => Math.max(most, [...word].length), 1);
    this.unknown = model.vocab.reduce((least, [, score]) => Math.min(least, score), Infinity) - 10;
  }

  pieces(word) {
    const best = [{ score: 0, from: -1, id: null }];
    for (let start = 0; start < word.length; start += 1) {
      const here = best[start].score;
      let text = "";
      let single = false;
      const offer = (end, score, id) => { if (!best[end] || score > best[end].score) best[end] = { score, from: start, id }; };
      for (let end = start + 1; end <= Math.min(word.length, start + this.longest); end += 1) {
        text += word[end - 1][0];
        const hit = this.scores.get(text);
        if (!hit) continue;
        single ||= end === start + 1;
        offer(end, here + hit[1], hit[0]);
      }
      if (!single) offer(start + 1, here + this.unknown, null);
    }
    const path = [];
    for (let end = word.length; end > 0; end = best[end].from) path.unshift([best[end].id, best[end].from, end]);
    const joined = []; // unknown characters beside each other are one token
    for (const part of path) {
      if (part[0] === null && joined.length && joined.at(-1)[0] === null) joined.at(-1)[2] = part[2];
      else joined.push(part);
    }
    return joined.flatMap(([id, from, to]) => {
      const [start, end] = [word[from][1], word[to - 1][2]];
      if (id !== null) return [[id, start, end]];
      const ids = this.options.byte_fallback ? [...utf8.encode(word.slice(from, to).map(([char]) => char).join(""))].map((byte) => this.scores.get(byteName(byte))?.[0]) : [undefined];
      return ids.every((one) => one !== undefined) ? ids.map((one) => [one, start, end]) : [[this.options.unk_id ?? 0, start, end]];
    });
  }
}

export class WordPiece {
  constructor(model) {
    this.options = model;
    this.vocabulary = new Map(Object.entries(model.vocab));
    this.names = [];
    for (const [word, id] of this.vocabulary) this.names[id] = word;
  }

  pieces(word) {
    const { unk_token: unknown, max_input_chars_per_word: most, continuing_subword_prefix: prefix } = this.options;
    const lost = [[this.vocabulary.get(unknown), word[0][1], word.at(-1)[2]]];
    if (word.length > most) return lost;
    const found = [];
    for (let start = 0; start < word.length; ) {
      let end = word.length;
      let id;
      for (; end > start; end -= 1) {
        id = this.vocabulary.get((start ? prefix : "") + word.slice(start, end).map(([char]) => char).join(""));
        if (id !== undefined) break;
      }
      if (end === start) return lost;
      found.push([id, word[start][1], word[end - 1][2]]);
      start = end;
    }
    return found;
  }
}

function decoded(words, options) {
  if (!options) return words;
  switch (options.type) {
    case "Sequence": return options.decoders.reduce(decoded, words);
    case "ByteLevel": return [reader.decode(Uint8Array.from(words.flatMap((word) => {
      const raw = [...word].map((char) => CHARS.get(char));
      return raw.every((byte) => byte !== undefined) ? raw : [...utf8.encode(word)];
    })))];
    case "Metaspace": return words.map((word, k) => {
      const text = word.replaceAll(options.replacement ?? "\u2581", " ");
      return k === 0 && (options.prepend_scheme ?? "always") !== "never" ? text.replace(/^ /, "") : text;
    });
    case "Replace": return words.map((word) => word.replaceAll(options.pattern.String ?? expression(options.pattern), options.content));
    case "Fuse": return [words.join("")];
    case "Strip": return words.map((word) => {
      let [from, to] = [0, word.length];
      while (from < options.start && word[from] === options.content) from += 1;
      while (word.length - to < options.stop && to > from && word[to - 1] === options.content) to -= 1;
      return word.slice(from, to);
    });
    case "ByteFallback": {
      const result = [];
      let raw = [];
      const flush = () => { if (raw.length) result.push(reader.decode(Uint8Array.from(raw))); raw = []; };
      for (const word of words) {
        const byte = /^<0x([0-9A-F]{2})>$/.exec(word);
        if (byte) raw.push(parseInt(byte[1], 16));
        else { flush(); result.push(word); }
      }
      flush();
      return result;
    }
    case "BPEDecoder": return words.map((word, k) => word.replaceAll(options.suffix ?? "</w>", k === words.length - 1 ? "" : " "));
    case "WordPiece": return words.map((word, k) => (k && word.startsWith(options.prefix) ? word.slice(options.prefix.length) : (k ? " " : "") + word));
    default: throw new Error(`a decoder of the kind ${options.type} is not read here`);
  }
}

/** Return {single, pair, special_tokens} of a post-processor, and whether white space is left out of offsets. */
export function template(processor) {
  const parts = processor?.type === "Sequence" ? processor.processors : processor ? [processor] : [];
  const plain = (id, kind) => ({ Sequence: { id, type_id: kind } });
  const made = { single: [plain("A", 0)], pair: [plain("A", 0), plain("B", 1)], special_tokens: {}, trims: null };
  for (const part of parts) {
    if (part.type === "TemplateProcessing") Object.assign(made, { single: part.single, pair: part.pair, special_tokens: part.special_tokens });
    else if (part.type === "RobertaProcessing" || part.type === "BertProcessing") {
      const [cls, sep] = ["cls", "sep"].map((name) => { made.special_tokens[part[name][0]] = { ids: [part[name][1]] }; return part[name][0]; });
      const mark = (id, kind) => ({ SpecialToken: { id, type_id: kind } });
      const bert = part.type === "BertProcessing" ? 1 : 0;
      made.single = [mark(cls, 0), plain("A", 0), mark(sep, 0)];
      made.pair = [...made.single, ...(bert ? [] : [mark(sep, 0)]), plain("B", bert), mark(sep, bert)];
      if (part.trim_offsets) made.trims = { prefix: part.add_prefix_space };
    } else if (part.type === "ByteLevel") {
      if (part.trim_offsets) made.trims = { prefix: part.add_prefix_space };
    } else throw new Error(`a post-processor of the kind ${part.type} is not read here`);
  }
  return made;
}

/** Return the offsets of a byte-level token without the white space at its ends. */
export function trimmed([id, start, end], name, first, prefix) {
  const blank = (char) => char === "\u0120" || SPACE.test(char);
  const letters = [...name];
  let leading = letters.findIndex((char) => !blank(char));
  if (leading < 0) leading = letters.length;
  const trailing = leading === letters.length ? leading : [...letters].reverse().findIndex((char) => !blank(char));
  if (leading && (first || start === 0) && prefix) leading -= 1;
  const from = Math.min(start + leading, end);
  return [id, from, trailing && end >= trailing ? Math.max(end - trailing, from) : end];
}
