// Outputs become an answer, for one sample (batch axis 1); and the comparison of two answers. The kinds of answers are those of the
// bundle's inference/decoding.py. Outputs are a Map of name → {data: numbers, shape, dtype}.

import { inside } from "./bundle.mjs";

const sigmoid = (x) => 0.5 * (1 + Math.tanh(0.5 * x));

function softmax(values) {
  const most = values.reduce((a, b) => Math.max(a, b), -Infinity);
  const powers = values.map((value) => Math.exp(value - most));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

function activated(values, activation) {
  return activation === "softmax" ? softmax(values) : activation === "sigmoid" ? values.map(sigmoid) : values;
}

const pick = (outputs, name) => (name === null ? outputs.values().next().value : outputs.get(name));
const labelOf = (labels, index) => labels[index] ?? String(index);
const argmax = (values) => values.reduce((best, value, k) => (value > values[best] ? k : best), 0);
const rowsOf = ({ data, shape }) => Array.from({ length: shape[1] }, (_, k) => data.slice(k * shape[2], (k + 1) * shape[2]));

/** Return the answer; `context` has labels and, by kind, placement, tokens, mask, toText. */
export function decode(decoding, outputs, context) {
  return DECODERS[decoding.kind](decoding, outputs, context);
}

const DECODERS = {
  argmax(decoding, outputs, { labels }) {
    const values = pick(outputs, decoding.output).data;
    const scores = activated(values, decoding.activation);
    const order = values.map((_, k) => k).sort((a, b) => values[b] - values[a] || a - b).slice(0, decoding.top_k);
    return { kind: "classes", classes: order.map((index) => ({ label: labelOf(labels, index), index, score: scores[index] })) };
  },
  "multi-label"(decoding, outputs, { labels }) {
    const scores = activated(pick(outputs, decoding.output).data, decoding.activation);
    const classes = scores.map((score, index) => ({ label: labelOf(labels, index), index, score }));
    return { kind: "labels", classes: classes.filter(({ score }) => score >= decoding.threshold) };
  },
  spans(decoding, outputs, { labels, tokens }) {
    const rows = rowsOf(pick(outputs, decoding.output)).map((row) => activated(row, decoding.activation));
    return { kind: "spans", spans: entities(wordTags(rows, tokens, labels, decoding.words), tokens.text, decoding.outside) };
  },
  "answer-span"(decoding, outputs, { tokens }) {
    const count = tokens.offsets.length;
    const [first, last] = ["start", "end"].map((side) => softmax(outputs.get(decoding[side]).data.slice(0, count)));
    const places = (want) => tokens.sequences.flatMap((sequence, k) => (want(sequence) ? [k] : []));
    const inside = places((sequence) => sequence === 1).length ? places((sequence) => sequence === 1) : places((sequence) => sequence !== null);
    let [best, pair] = [-1, null];
    for (const begin of inside) {
      for (const stop of inside) {
        if (stop >= begin && stop < begin + decoding.max_tokens && first[begin] * last[stop] > best) [best, pair] = [first[begin] * last[stop], [begin, stop]];
      }
    }
    const nothing = first[0] * last[0];
    if (!pair || (decoding.may_be_empty && nothing > best)) return { kind: "answer", text: "", start: 0, end: 0, score: nothing };
    const [start, end] = [tokens.offsets[pair[0]][0], tokens.offsets[pair[1]][1]];
    return { kind: "answer", text: [...tokens.text].slice(start, end).join(""), start, end, score: best };
  },
  boxes(decoding, outputs, { labels, placement }) {
    const boxes = detections(decoding, outputs, placement).map(({ index, score, box }) => ({ label: labelOf(labels, index), index, score, box }));
    return { kind: "boxes", size: [...placement.size], boxes };
  },
  segmentation(decoding, outputs, { labels, placement }) {
    const mask = classMap(pick(outputs, decoding.output), placement, decoding.bilinear);
    const counts = new Map();
    for (const value of mask) counts.set(value, (counts.get(value) ?? 0) + 1);
    const classes = [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0]).map(([index, count]) => ({ label: labelOf(labels, index), index, share: count / mask.length }));
    const runs = [];
    for (const value of mask) {
      if (runs.length && runs.at(-1)[0] === value) runs.at(-1)[1] += 1;
      else runs.push([value, 1]);
    }
    return { kind: "segmentation", size: [...placement.size], classes, mask: runs };
  },
  ctc(decoding, outputs, { labels }) {
    const output = pick(outputs, decoding.output);
    const best = output.shape.length === 3 ? rowsOf(output).map(argmax) : output.data;
    const tokens = decoding.tokens.length ? decoding.tokens : labels;
    const text = best.filter((token, k) => token !== best[k - 1] && token !== decoding.blank).map((token) => labelOf(tokens, token)).join("");
    return { kind: "text", text: text.replaceAll(decoding.word_delimiter, " ").split(/\s+/u).filter(Boolean).join(" ") };
  },
  text(decoding, outputs, { toText }) {
    const output = pick(outputs, decoding.output);
    const ids = output.dtype.startsWith("float") ? rowsOf(output).map(argmax) : output.data;
    return { kind: "text", text: toText(ids) };
  },
  embedding(decoding, outputs, { mask }) {
    const output = pick(outputs, decoding.output);
    let vector = output.shape.length === 3 ? pool(rowsOf(output), mask, decoding.pooling) : output.data;
    if (decoding.normalise) {
      const length = Math.max(Math.sqrt(vector.reduce((sum, x) => sum + x * x, 0)), 1e-12);
      vector = vector.map((x) => x / length);
    }
    return { kind: "embedding", vector };
  },
  value(decoding, outputs) {
    const names = decoding.outputs.length ? decoding.outputs : [...outputs.keys()];
    const values = names.map((name) => {
      const { data, shape } = outputs.get(name);
      const numbers = data.map((x) => x * decoding.factor + decoding.offset);
      return [name, numbers.length === 1 ? numbers[0] : nested(numbers, shape.slice(1))];
    });
    return { kind: "value", values: Object.fromEntries(values) };
  },
  arrays(decoding, outputs) {
    const first = outputs.values().next().value;
    const count = first.shape.length ? first.shape[0] : 1;
    const arrays = [...outputs].map(([name, { data, shape, dtype }]) => {
      const one = shape.length && shape[0] === count;
      return [name, { dtype, shape: one ? shape.slice(1) : shape, values: one ? data.slice(0, data.length / count) : data }];
    });
    return { kind: "arrays", arrays: Object.fromEntries(arrays) };
  },
};

function nested(values, shape) {
  if (shape.length <= 1) return values;
  const size = values.length / shape[0];
  return Array.from({ length: shape[0] }, (_, k) => nested(values.slice(k * size, (k + 1) * size), shape.slice(1)));
}

function wordTags(rows, tokens, labels, words) {
  const text = [...tokens.text];
  const tags = [];
  tokens.offsets.forEach(([start, end], k) => {
    if (tokens.sequences[k] === null || start === end) return;
    if (words && tags.length && !text.slice(tags.at(-1).start, end).some((char) => /[\s\x1c-\x1f\x85]/u.test(char))) {
      tags.at(-1).end = Math.max(tags.at(-1).end, end);
      return;
    }
    const best = argmax(rows[k]);
    tags.push({ tag: labelOf(labels, best), score: rows[k][best], start, end });
  });
  return tags;
}

function entities(tags, text, outside) {
  const chars = [...text];
  const found = [];
  let previous = outside;
  for (const tag of tags) {
    if (tag.tag === outside) {
      previous = outside;
      continue;
    }
    const marked = /^[BI]-/.test(tag.tag);
    const name = marked ? tag.tag.slice(2) : tag.tag;
    if (tag.tag.startsWith("B-") || name !== previous) found.push({ name, parts: [] });
    found.at(-1).parts.push(tag);
    previous = name;
  }
  return found.map(({ name, parts }) => {
    const [start, end] = [parts[0].start, parts.at(-1).end];
    return { label: name, text: chars.slice(start, end).join(""), start, end, score: parts.reduce((sum, { score }) => sum + score, 0) / parts.length };
  });
}

function pool(rows, mask, pooling) {
  if (pooling === "first") return rows[0];
  const kept = mask ? rows.filter((_, k) => Number(mask[k]) > 0) : rows;
  if (pooling === "last") return kept.at(-1);
  return rows[0].map((_, k) => pooling === "max" ? kept.reduce((a, row) => Math.max(a, row[k]), -Infinity) : kept.reduce((a, row) => a + row[k], 0) / Math.max(kept.length, 1e-9));
}

/** Return {columns, at(row, column)} of an output of rows; `transposed` ones have the columns first. */
function table({ data, shape }, transposed) {
  if (transposed) {
    const count = data.length / shape[1];
    return { count, columns: shape[1], at: (row, column) => data[column * count + row] };
  }
  const columns = shape.at(-1);
  return { count: data.length / columns, columns, at: (row, column) => data[row * columns + column] };
}

function detections(decoding, outputs, placement) {
  const both = decoding.boxes !== null;
  const main = table(both ? outputs.get(decoding.boxes) : pick(outputs, decoding.output), decoding.transposed);
  const side = both ? table(outputs.get(decoding.scores), decoding.transposed) : main;
  const ahead = !both && decoding.order === "objectness-box-classes" ? 1 : 0;
  const from = both ? 0 : decoding.objectness ? 5 : 4;
  const classes = side.columns - from;
  const background = decoding.background === null ? -1 : (decoding.background + classes) % classes;
  const cells = grid(decoding, placement.inputSize);
  const found = [];
  for (let row = 0; row < main.count; row += 1) {
    let scores = activated(Array.from({ length: classes }, (_, k) => side.at(row, from + k)), decoding.activation);
    if (!both && decoding.objectness) {
      const raw = main.at(row, ahead ? 0 : 4);
      const object = (decoding.objectness_activation === "sigmoid" ? sigmoid(raw) : raw) ** decoding.powers[0];
      scores = scores.map((score) => object * score ** decoding.powers[1]);
    }
    if (background >= 0) scores[background] = -1;
    const chosen = decoding.one_class_per_box ? [argmax(scores)] : scores.map((_, k) => k);
    for (const index of chosen) {
      if (!(scores[index] >= decoding.score_threshold)) continue;
      const corners = cornersOf(decoding, [0, 1, 2, 3].map((k) => main.at(row, ahead + k)), row, cells, placement.inputSize);
      const box = corners.map((value, k) => Math.min(placement.size[k % 2], Math.max(0, (value - placement.offset[k % 2]) / placement.scale[k % 2])));
      found.push({ index, score: scores[index], box });
    }
  }
  found.sort((a, b) => b.score - a.score);
  return suppressed(found, decoding).slice(0, decoding.max_detections);
}

function grid({ encoding, strides }, [width, height]) {
  if (!["grid", "tanh-grid", "distances"].includes(encoding)) return null;
  return strides.flatMap((stride) => {
    const across = Math.ceil(width / stride);
    return Array.from({ length: across * Math.ceil(height / stride) }, (_, k) => [k % across, Math.floor(k / across), stride]);
  });
}

function cornersOf(decoding, [a, b, c, d], row, cells, [width, height]) {
  const around = (x, y, w, h) => [x - w / 2, y - h / 2, x + w / 2, y + h / 2];
  if (cells) {
    const [x, y, stride] = cells[row];
    if (decoding.encoding === "grid") return around((a + x) * stride, (b + y) * stride, Math.exp(c) * stride, Math.exp(d) * stride);
    if (decoding.encoding === "tanh-grid") return around((Math.tanh(a) + x) * stride, (Math.tanh(b) + y) * stride, sigmoid(c) * width, sigmoid(d) * height);
    const [middleX, middleY] = [(x + 0.5) * stride, (y + 0.5) * stride];
    return [middleX - a * stride, middleY - b * stride, middleX + c * stride, middleY + d * stride];
  }
  let corners = [a, b, c, d];
  if (decoding.encoding === "anchors") {
    const [x, y, w, h] = decoding.anchors[row];
    const [near, far] = decoding.variances;
    corners = around(x + a * near * w, y + b * near * h, w * Math.exp(c * far), h * Math.exp(d * far));
  } else if (decoding.encoding === "cxcywh") corners = around(a, b, c, d);
  else if (decoding.encoding === "xywh") corners = [a, b, a + c, b + d];
  return decoding.unit === "relative" ? corners.map((value, k) => value * [width, height][k % 2]) : corners;
}

function suppressed(found, { iou_threshold: threshold, per_class: perClass, max_detections: most }) {
  if (threshold === null) return found;
  const kept = [];
  for (const one of found) {
    if (kept.length >= most) break;
    if (!kept.some((other) => (!perClass || other.index === one.index) && overlap(one.box, other.box) > threshold)) kept.push(one);
  }
  return kept;
}

function overlap(a, b) {
  const inner = Math.max(0, Math.min(a[2], b[2]) - Math.max(a[0], b[0])) * Math.max(0, Math.min(a[3], b[3]) - Math.max(a[1], b[1]));
  const union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inner;
  return inner / Math.max(union, 1e-12);
}

function classMap({ data, shape }, placement, bilinear) {
  const maps = shape.length === 4 ? shape[1] : 1;
  const [rows, columns] = shape.slice(-2);
  const [width, height] = placement.size;
  const sources = (axis, cells) => Array.from({ length: placement.size[axis] }, (_, k) => {
    const at = ((k + 0.5) * placement.scale[axis] + placement.offset[axis]) * (cells / placement.inputSize[axis]) - 0.5;
    return Math.min(cells - 1, Math.max(0, at));
  });
  const [ys, xs] = [sources(1, rows), sources(0, columns)];
  const even = (x) => { const low = Math.floor(x); return x - low < 0.5 || (x - low === 0.5 && low % 2 === 0) ? low : low + 1; };
  const mask = new Array(width * height);
  const value = (map, y, x) => {
    if (shape.length === 3 || !bilinear) return data[(map * rows + even(y)) * columns + even(x)];
    const [top, left] = [Math.floor(y), Math.floor(x)];
    const [down, right] = [Math.min(top + 1, rows - 1), Math.min(left + 1, columns - 1)];
    const at = (r, c) => data[(map * rows + r) * columns + c];
    const [ty, tx] = [y - top, x - left];
    return (at(top, left) * (1 - ty) + at(down, left) * ty) * (1 - tx) + (at(top, right) * (1 - ty) + at(down, right) * ty) * tx;
  };
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      let [best, top] = [0, value(0, ys[y], xs[x])];
      if (maps === 1) best = Math.trunc(top);
      for (let map = 1; map < maps; map += 1) {
        const here = value(map, ys[y], xs[x]);
        if (here > top) [best, top] = [map, here];
      }
      mask[y * width + x] = best;
    }
  }
  return mask;
}

const SCORE = 0.05; // largest difference between two scores of 0…1
const OVERLAP = 0.8; // least intersection over union of two boxes that are the same
const COSINE = 0.98; // least cosine of two vectors that are the same

/** Whether two numbers differ by at most `most`; NaN is near nothing. */
const near = (value, recorded, most) => Math.abs(value - recorded) <= most;

/** Return the overlap of two boxes; 1 for two that are both empty. */
function alike(a, b) {
  const empty = [a, b].every((box) => !((box[2] - box[0]) * (box[3] - box[1]) > 0));
  return empty ? 1 : overlap(a, b);
}

/** Return how the answer `got` differs from the recorded one, in one line; null if they agree. */
export function disagreement(got, want) {
  if (got.kind !== want.kind) return `the answer is of kind ${got.kind}, recorded is ${want.kind}`;
  return CHECKS[want.kind](got, want);
}

const CHECKS = {
  classes(got, want) {
    const recorded = new Map(want.classes.map(({ label, score }) => [label, score]));
    const [first, other] = [want.classes[0], got.classes[0]];
    if (first.label !== other.label && first.score - (recorded.get(other.label) ?? 0) > SCORE * Math.max(1, Math.abs(first.score))) return `best is ${other.label}, recorded is ${first.label}`;
    const wrong = got.classes.find(({ label, score }) => recorded.has(label) && !near(score, recorded.get(label), SCORE * Math.max(1, Math.abs(recorded.get(label)))));
    return wrong ? `${wrong.label} has score ${wrong.score}, recorded is ${recorded.get(wrong.label)}` : null;
  },
  labels(got, want) {
    const [have, should] = [got, want].map(({ classes }) => new Map(classes.map(({ label, score }) => [label, score])));
    const lowest = Math.min(...have.values(), ...should.values());
    for (const [label, score] of [...have, ...should]) {
      if (have.has(label) !== should.has(label) && score - lowest > SCORE) return `${label} is ${have.has(label) ? "extra" : "missing"}`;
      if (have.has(label) && should.has(label) && !near(have.get(label), should.get(label), SCORE)) return `${label} has score ${have.get(label)}`;
    }
    return null;
  },
  spans(got, want) {
    const [have, should] = [got, want].map(({ spans }) => JSON.stringify(spans.map(({ start, end, label }) => [start, end, label])));
    return have === should ? null : `spans are ${have}, recorded are ${should}`;
  },
  answer: (got, want) => (got.text === want.text ? null : `text is '${got.text}', recorded is '${want.text}'`),
  text: (got, want) => (got.text === want.text ? null : `text is '${got.text}', recorded is '${want.text}'`),
  boxes(got, want) {
    if (String(got.size) !== String(want.size)) return `the image is ${got.size}, recorded is ${want.size}`;
    const left = [...got.boxes];
    const lowest = Math.min(...[...want.boxes, ...got.boxes].map(({ score }) => score));
    for (const box of want.boxes) {
      const match = left.filter(({ label }) => label === box.label).sort((a, b) => alike(box.box, b.box) - alike(box.box, a.box))[0];
      if (!match || alike(box.box, match.box) < OVERLAP) {
        if (box.score - lowest > SCORE) return `no ${box.label} at ${box.box.map(Math.round)}, recorded with score ${box.score}`;
        continue;
      }
      left.splice(left.indexOf(match), 1);
      if (!near(match.score, box.score, SCORE)) return `${box.label} has score ${match.score}, recorded is ${box.score}`;
    }
    const extra = left.find(({ score }) => score - lowest > SCORE);
    return extra ? `extra ${extra.label} at ${extra.box.map(Math.round)}` : null;
  },
  segmentation(got, want) {
    if (String(got.size) !== String(want.size)) return `the image is ${got.size}, recorded is ${want.size}`;
    const [have, should] = [got, want].map(({ mask }) => mask.flatMap(([value, count]) => new Array(count).fill(value)));
    const different = should.filter((value, k) => value !== have[k]).length;
    return different > 0.02 * should.length ? `${different} of ${should.length} pixels have another class` : null;
  },
  embedding(got, want) {
    if (got.vector.length !== want.vector.length) return `${got.vector.length} numbers, recorded are ${want.vector.length}`;
    const dot = (a, b) => a.reduce((sum, x, k) => sum + x * b[k], 0);
    const lengths = Math.sqrt(dot(got.vector, got.vector) * dot(want.vector, want.vector));
    const cosine = lengths === 0 ? Number(got.vector.every((x, k) => x === want.vector[k])) : dot(got.vector, want.vector) / lengths;
    return cosine >= COSINE ? null : `the cosine to the recorded vector is ${cosine}`;
  },
  value(got, want) {
    for (const [name, value] of Object.entries(want.values)) {
      const problem = numbers([got.values[name]].flat(Infinity), [value].flat(Infinity));
      if (problem) return `${name}: ${problem}`;
    }
    return null;
  },
  arrays(got, want) {
    for (const [name, array] of Object.entries(want.arrays)) {
      if (String(got.arrays[name]?.shape) !== String(array.shape)) return `${name} has another shape`;
      const problem = numbers(got.arrays[name].values.filter((_, k) => k % (array.step ?? 1) === 0), array.values);
      if (problem) return `${name}: ${problem}`;
    }
    return null;
  },
};

function numbers(got, want) {
  if (got.length !== want.length) return `${got.length} values, recorded are ${want.length}`;
  const allowed = 0.02 * want.reduce((most, value) => (Number.isFinite(value) ? Math.max(most, Math.abs(value)) : most), 0) + 1e-6;
  const wrong = want.findIndex((value, k) => !(Object.is(value, got[k]) || value === got[k] || Number(value) === got[k] || Math.abs(Number(value) - got[k]) <= allowed));
  return wrong < 0 ? null : `${got[wrong]} where ${want[wrong]} is recorded`;
}

const inOneLine = (text) => text.replace(/\s+/g, " ").trim();

/** Put the golden raw inputs of a bundle through `predict` and return what is wrong, one line each. */
export async function checkGolden(manifest, read, predict) {
  const problems = [];
  for (const [index, { input, answer }] of (manifest.golden.raw ?? []).entries()) {
    const raw = "text" in input ? input.text : await read(inside(input.file));
    try {
      const problem = disagreement(await predict(raw), answer);
      if (problem) problems.push(inOneLine(`raw input ${index}: ${problem}`));
    } catch (error) {
      problems.push(inOneLine(`raw input ${index}: ${error.message}`));
    }
  }
  return problems;
}
