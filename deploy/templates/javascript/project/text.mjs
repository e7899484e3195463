// Texts become token ids, with the character offsets of every token: BERT's WordPiece here, other tokenizers in tokenizer.mjs.

import { Pipeline, WordPiece, template, trimmed } from "./tokenizer.mjs";

const CHINESE = /[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u{20000}-\u{2a6df}\u{2a700}-\u{2b81f}\u{2b920}-\u{2ceaf}\u{2f800}-\u{2fa1f}]/u;
const CONTROL = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}]/u;
const SPACE = /[\p{Zs}\u2028\u2029\t\n\r]/u;
const MARK = /\p{Mn}/u;
const PUNCTUATION = /[\p{P}!-/:-@[-`{-~]/u;

export class Tokenizer {
  constructor(settings, maxLength) {
    this.settings = settings;
    this.maxLength = maxLength;
    this.pipeline = isWordpiece(settings) ? null : new Pipeline(settings);
    this.template = template(settings.post_processor);
    if (!this.pipeline) this.model = new WordPiece(settings.model);
  }

  /** Return {ids, types, sequences, offsets}; offsets count characters (code points). */
  encode(first, second) {
    const items = second === undefined ? this.template.single : this.template.pair;
    const parts = { A: this.#trimmed(first), B: second === undefined ? [] : this.#trimmed(second) };
    const special = (item) => this.template.special_tokens[item.SpecialToken.id].ids;
    const room = Math.max(0, this.maxLength - items.reduce((sum, item) => sum + (item.SpecialToken ? special(item).length : 0), 0));
    const [a, b] = second === undefined ? [room, 0] : longestFirst(parts.A.length, parts.B.length, room);
    const found = { ids: [], types: [], sequences: [], offsets: [] };
    const add = ([id, start, end], type, sequence) => {
      found.ids.push(id); found.types.push(type); found.sequences.push(sequence); found.offsets.push([start, end]);
    };
    for (const item of items) {
      if (item.SpecialToken) for (const id of special(item)) add([id, 0, 0], item.SpecialToken.type_id, null);
      else for (const piece of parts[item.Sequence.id].slice(0, item.Sequence.id === "A" ? a : b)) add(piece, item.Sequence.type_id, item.Sequence.id === "A" ? 0 : 1);
    }
    return found;
  }

  /** Return the token ids of a text alone, without those that the template adds. */
  plainIds(text) {
    return this.#trimmed(text).map(([id]) => id);
  }

  /** Return the text of token ids, without special tokens. */
  decode(ids) {
    if (this.pipeline) return this.pipeline.decode(ids);
    const special = new Set(this.settings.added_tokens.filter((token) => token.special).map((token) => token.id));
    return ids.filter((id) => !special.has(id)).map((id) => this.model.names[id]).filter((word) => word !== undefined).join(" ").replaceAll(` ${this.settings.model.continuing_subword_prefix}`, "");
  }

  #trimmed(text) {
    if (!this.pipeline) return this.#pieces(text);
    const found = this.pipeline.pieces(text);
    const { trims } = this.template;
    return trims ? found.map((piece, k) => trimmed(piece, piece[3] ?? this.pipeline.model.names[piece[0]] ?? "", k === 0, trims.prefix)) : found;
  }

  #pieces(text) {
    const special = new Map(this.settings.added_tokens.map((token) => [token.content, token.id]));
    const longestFirst = [...special.keys()].sort((a, b) => b.length - a.length); // (one may begin as another does)
    const escaped = longestFirst.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    const parts = special.size ? text.split(new RegExp(`(${escaped.join("|")})`, "u")) : [text];
    const found = [];
    let start = 0;
    for (const part of parts) {
      const chars = [...part];
      if (special.has(part)) found.push([special.get(part), start, start + chars.length]);
      else for (const word of this.#words(chars)) for (const [id, a, b] of this.model.pieces(word)) found.push([id, start + a, start + b]);
      start += chars.length;
    }
    return found;
  }

  /** Return the words and single punctuation marks, as lists of [character, start, end]. */
  #words(chars) {
    const options = this.settings.normalizer;
    const strip = options.strip_accents ?? options.lowercase;
    const words = [[]];
    chars.forEach((original, place) => {
      let char = original;
      if (options.clean_text) {
        if (!"\t\n\r".includes(char) && (char === "\ufffd" || CONTROL.test(char))) return;
        if (SPACE.test(char)) char = " ";
      }
      const alone = options.handle_chinese_chars && CHINESE.test(char);
      if (strip) char = [...char.normalize("NFD")].filter((part) => !MARK.test(part)).join("");
      if (options.lowercase) char = [...char].map((part) => part.toLowerCase()).join("");
      for (const part of char) {
        if (SPACE.test(part)) words.push([]);
        else if (alone || PUNCTUATION.test(part)) words.push([[part, place, place + 1]], []);
        else words.at(-1).push([part, place, place + 1]);
      }
      if (alone) words.push([]);
    });
    return words.filter((word) => word.length);
  }
}

function isWordpiece(settings) {
  const kinds = ["normalizer", "pre_tokenizer", "model", "post_processor"].map((part) => settings[part]?.type);
  const plain = settings.added_tokens.every((token) => !token.normalized && !token.lstrip && !token.rstrip);
  return plain && kinds.join() === "BertNormalizer,BertPreTokenizer,WordPiece,TemplateProcessing";
}

/** Return how many tokens two texts keep in `room`: the longer one is cut first, then both to half. */
export function longestFirst(first, second, room) {
  let [short, long] = [Math.min(first, second), Math.max(first, second)];
  if (short + long > room) {
    long = Math.max(short, room - short);
    if (short + long > room) [short, long] = [room >> 1, (room >> 1) + (room % 2)];
  }
  return first <= second ? [short, long] : [long, short];
}
