"""Outputs become answers: one function for each kind of decoding that bundle.json can name.

`decode` takes the decoding (a mapping, as in bundle.json), the outputs by name with a batch axis, and what is known about the
samples; it returns one answer for each sample, of plain numbers, texts, lists and mappings, ready for JSON. Each answer names
its kind:

    classes       {"classes": [{"label", "index", "score"}, …]}              best first
    labels        {"classes": [{"label", "index", "score"}, …]}              those above the threshold, by number
    spans         {"spans": [{"label", "text", "start", "end", "score"}, …]} in order; positions count characters
    answer        {"text", "start", "end", "score"}                          empty text: no answer
    boxes         {"size": [w, h], "boxes": [{"label", "index", "score", "box": [x0, y0, x1, y1]}, …]}  best first, in pixels
    segmentation  {"size": [w, h], "classes": [{"label", "index", "share"}, …], "mask": [[index, count], …]}  runs, row by row
    text          {"text"}
    embedding     {"vector": […]}
    value         {"values": {name: number or list}}
    arrays        {"arrays": {name: {"dtype", "shape", "values"}}}
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from . import boxes as _boxes

Answer = Dict[str, Any]


@dataclass(frozen=True)
class Placement:
    """Where an image lies in the model's input: x_input = x · scale + offset; `size` and `input_size` are (width, height)."""

    size: Tuple[int, int]
    input_size: Tuple[int, int]
    scale: Tuple[float, float] = (1.0, 1.0)
    offset: Tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Tokens:
    """The tokens of a text: character offsets (start, end) of each, and the text (0 or 1) it is from; None: a special token."""

    text: str
    offsets: Sequence[Tuple[int, int]]
    sequences: Sequence[Optional[int]]


@dataclass(frozen=True)
class Context:
    """What decoding may need beside the outputs; all lists are by sample of the batch."""

    labels: Sequence[str] = ()
    placements: Sequence[Placement] = ()
    tokens: Sequence[Tokens] = ()
    mask: Any = None
    """1 for a token and 0 for padding, [batch, length]; None: no padding."""
    to_text: Optional[Callable[[Sequence[int]], str]] = field(default=None, repr=False)
    """Token ids to text, for the decoding "text"."""


def decode(decoding: Mapping[str, Any], outputs: Mapping[str, Any], context: Context = Context()) -> List[Answer]:
    """Return one answer for each sample of the batch.

    Args:
        decoding: kind and options, as in bundle.json, with every option present.
        outputs: the model's outputs by name, in its order.
        context: what is known about the samples.
    """
    arrays = {name: np.asarray(value) for name, value in outputs.items()}
    return _DECODERS[decoding["kind"]](decoding, arrays, context)


def label_of(labels: Sequence[str], index: int) -> str:
    """Return the name of class `index`; its number where it has none."""
    return labels[index] if 0 <= index < len(labels) else str(index)


def activated(values: Any, activation: str) -> Any:
    """Return float64 scores: `values` through "softmax" over the last axis, "sigmoid" or "none"."""
    wide = np.asarray(values, np.float64)
    if activation == "softmax":
        powers = np.exp(wide - wide.max(axis=-1, keepdims=True))
        return powers / powers.sum(axis=-1, keepdims=True)
    if activation == "sigmoid":
        return 0.5 * (1.0 + np.tanh(0.5 * wide))
    return wide


def output_of(name: Optional[str], outputs: Mapping[str, Any]) -> Any:
    """Return the output called `name`; the first one where `name` is None."""
    return outputs[name] if name is not None else next(iter(outputs.values()))


def _classes(decoding: Mapping[str, Any], outputs: Mapping[str, Any], context: Context) -> List[Answer]:
    raw = activated(_rows(output_of(decoding["output"], outputs)), "none")  # (float64: the negative of an unsigned one is not)
    scores = activated(raw, decoding["activation"])
    answers = []
    for row, values in zip(scores, raw):
        order = np.argsort(-values, kind="stable")[: decoding["top_k"]]
        answers.append({"kind": "classes", "classes": [_scored(row, int(k), context.labels) for k in order]})
    return answers


def _rows(values: Any) -> Any:
    """Return [batch, classes]; axes of size 1 between or behind them (pooled maps) are dropped."""
    return values.reshape(values.shape[0], -1)


def _scored(row: Any, index: int, labels: Sequence[str]) -> Dict[str, Any]:
    return {"label": label_of(labels, index), "index": index, "score": float(row[index])}


def _multi_label(decoding: Mapping[str, Any], outputs: Mapping[str, Any], context: Context) -> List[Answer]:
    scores = activated(_rows(output_of(decoding["output"], outputs)), decoding["activation"])
    chosen = [np.flatnonzero(row >= decoding["threshold"]) for row in scores]
    return [
        {"kind": "labels", "classes": [_scored(row, int(k), context.labels) for k in found]}
        for row, found in zip(scores, chosen)
    ]


def _spans(decoding: Mapping[str, Any], outputs: Mapping[str, Any], context: Context) -> List[Answer]:
    scores = activated(output_of(decoding["output"], outputs), decoding["activation"])
    return [
        {
            "kind": "spans",
            "spans": entities(word_tags(row, tokens, context.labels, decoding["words"]), tokens.text, decoding["outside"]),
        }
        for row, tokens in zip(scores, context.tokens)
    ]


@dataclass(frozen=True)
class Tag:
    """A tagged word (or token): its tag, the tag's score, and the characters it covers."""

    tag: str
    score: float
    start: int
    end: int


def word_tags(scores: Any, tokens: Tokens, labels: Sequence[str], words: bool) -> List[Tag]:
    """Return the tags of a text's words: the best class of each word's first token; of each token where `words` is False.

    A word is what stands between white space.

    Args:
        scores: [length, classes], of which the first ``len(tokens.offsets)`` rows are used.
        tokens: of the text.
        labels: names of the classes.
        words: one tag for each word instead of each token.
    """
    tags: List[Tag] = []
    for row, (start, end), sequence in zip(scores, tokens.offsets, tokens.sequences):
        if sequence is None or start == end:
            continue
        if words and tags and not any(char.isspace() for char in tokens.text[tags[-1].start : end]):
            last = tags[-1]
            tags[-1] = Tag(last.tag, last.score, last.start, max(last.end, end))
            continue
        best = int(np.argmax(row))
        tags.append(Tag(label_of(labels, best), float(row[best]), start, end))
    return tags


def entities(tags: Sequence[Tag], text: str, outside: str) -> List[Dict[str, Any]]:
    """Return the spans that BIO tags mark; a span's score is the mean of its words'."""
    found: List[List[Tag]] = []
    names: List[str] = []
    previous = outside
    for tag in tags:
        prefix, _, name = tag.tag.partition("-") if tag.tag[:2] in ("B-", "I-") else ("I", "", tag.tag)
        if tag.tag == outside:
            previous = outside
            continue
        if prefix == "B" or name != previous:
            found.append([])
            names.append(name)
        found[-1].append(tag)
        previous = name
    return [
        {
            "label": name,
            "text": text[part[0].start : part[-1].end],
            "start": part[0].start,
            "end": part[-1].end,
            "score": float(np.mean([tag.score for tag in part])),
        }
        for name, part in zip(names, found)
    ]


def _answer(decoding: Mapping[str, Any], outputs: Mapping[str, Any], context: Context) -> List[Answer]:
    starts, ends = (activated(outputs[decoding[side]], "none") for side in ("start", "end"))
    return [_answer_of(decoding, start, end, tokens) for start, end, tokens in zip(starts, ends, context.tokens)]


def _answer_of(decoding: Mapping[str, Any], start: Any, end: Any, tokens: Tokens) -> Answer:
    """Return the best span of the second text; its score is the product of both softmax values."""
    length = len(tokens.offsets)
    first, last = activated(start[:length], "softmax"), activated(end[:length], "softmax")
    inside = [k for k, sequence in enumerate(tokens.sequences) if sequence == 1] or [
        k for k, sequence in enumerate(tokens.sequences) if sequence is not None
    ]
    best, pair = -1.0, None
    for begin in inside:
        for stop in inside:
            if begin <= stop < begin + decoding["max_tokens"] and first[begin] * last[stop] > best:
                best, pair = float(first[begin] * last[stop]), (begin, stop)
    nothing = float(first[0] * last[0])
    if pair is None or (decoding["may_be_empty"] and nothing > best):
        return {"kind": "answer", "text": "", "start": 0, "end": 0, "score": nothing}
    span = tokens.offsets[pair[0]][0], tokens.offsets[pair[1]][1]
    return {"kind": "answer", "text": tokens.text[span[0] : span[1]], "start": span[0], "end": span[1], "score": best}


def _boxes_of(decoding: Mapping[str, Any], outputs: Mapping[str, Any], context: Context) -> List[Answer]:
    answers = []
    rows, scores = _boxes.rows_and_scores(decoding, outputs)
    for index, (corners, classes) in enumerate(zip(rows, scores)):
        place = context.placements[index]
        found = _boxes.detections(decoding, corners, classes, place)
        listed = [
            {"label": label_of(context.labels, number), "index": number, "score": score, "box": box}
            for number, score, box in found
        ]
        answers.append({"kind": "boxes", "size": list(place.size), "boxes": listed})
    return answers


def _segmentation(decoding: Mapping[str, Any], outputs: Mapping[str, Any], context: Context) -> List[Answer]:
    values = output_of(decoding["output"], outputs)
    answers = []
    for logits, place in zip(values, context.placements):
        mask = class_map(logits, place, decoding["bilinear"])
        counts = np.bincount(mask.ravel())
        classes = [
            {"label": label_of(context.labels, int(k)), "index": int(k), "share": float(counts[k] / mask.size)}
            for k in np.argsort(-counts, kind="stable")
            if counts[k]
        ]
        answers.append({"kind": "segmentation", "size": list(place.size), "classes": classes, "mask": runs(mask)})
    return answers


def class_map(logits: Any, place: Placement, bilinear: bool) -> Any:
    """Return the class of every pixel of the image, int64 [height, width], from logits [classes, h, w] (or classes [h, w])."""
    maps = logits if logits.ndim == 3 else logits[None]
    rows, columns = (_sources(place, axis, maps.shape[2 - axis]) for axis in (1, 0))
    if logits.ndim == 2 or not bilinear:
        picked = maps[:, np.rint(rows).astype(int)][:, :, np.rint(columns).astype(int)]
    else:
        picked = _between(_between(maps.astype(np.float32), rows, 1), columns, 2)
    return (picked[0] if logits.ndim == 2 or len(maps) == 1 else picked.argmax(axis=0)).astype(np.int64)


def _sources(place: Placement, axis: int, cells: int) -> Any:
    """Return the position on the model's output grid of each pixel centre of the image along `axis` (0: x, 1: y)."""
    pixels = (np.arange(place.size[axis]) + 0.5) * place.scale[axis] + place.offset[axis]
    return np.clip(pixels * cells / place.input_size[axis] - 0.5, 0, cells - 1)


def _between(values: Any, at: Any, axis: int) -> Any:
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, values.shape[axis] - 1)
    share = (at - low).astype(np.float32)
    share = share.reshape([-1 if k == axis else 1 for k in range(values.ndim)])
    return np.take(values, low, axis) * (1 - share) + np.take(values, high, axis) * share


def runs(mask: Any) -> List[List[int]]:
    """Return [value, count] for each run of equal values of `mask`, row by row."""
    flat = np.asarray(mask).ravel()
    starts = np.flatnonzero(np.diff(flat, prepend=flat[:1] - 1))
    counts = np.diff(starts, append=len(flat))
    return [[int(flat[start]), int(count)] for start, count in zip(starts, counts)]


def _ctc(decoding: Mapping[str, Any], outputs: Mapping[str, Any], context: Context) -> List[Answer]:
    values = output_of(decoding["output"], outputs)
    best = values.argmax(axis=-1) if values.ndim == 3 else values
    tokens = decoding["tokens"] or context.labels
    answers = []
    for row in best:
        kept = [int(token) for token, before in zip(row, [None, *row[:-1]]) if token != before and token != decoding["blank"]]
        text = "".join(label_of(tokens, token) for token in kept)
        answers.append({"kind": "text", "text": " ".join(text.replace(decoding["word_delimiter"], " ").split())})
    return answers


def _text(decoding: Mapping[str, Any], outputs: Mapping[str, Any], context: Context) -> List[Answer]:
    ids = output_of(decoding["output"], outputs)
    ids = ids.argmax(axis=-1) if ids.dtype.kind == "f" else ids
    if context.to_text is None:
        raise ValueError("the decoding 'text' needs a tokenizer")
    return [{"kind": "text", "text": context.to_text([int(token) for token in row])} for row in ids]


def _embedding(decoding: Mapping[str, Any], outputs: Mapping[str, Any], context: Context) -> List[Answer]:
    values = np.asarray(output_of(decoding["output"], outputs), np.float64)
    pooled = pool(values, context.mask, decoding["pooling"]) if values.ndim == 3 else values.reshape(len(values), -1)
    if decoding["normalise"]:
        pooled = pooled / np.maximum(np.linalg.norm(pooled, axis=-1, keepdims=True), 1e-12)
    return [{"kind": "embedding", "vector": [float(number) for number in row]} for row in pooled]


def pool(values: Any, mask: Any, pooling: str) -> Any:
    """Return [batch, width] from [batch, length, width]; tokens of padding do not count."""
    if pooling == "first":
        return values[:, 0]
    weights = np.ones(values.shape[:2]) if mask is None else np.asarray(mask, np.float64)
    if pooling == "max":
        return np.where(weights[..., None] > 0, values, -np.inf).max(axis=1)
    if pooling == "last":
        last = np.where(weights > 0, np.arange(values.shape[1]), 0).max(axis=1)
        return values[np.arange(len(values)), last]
    return (values * weights[..., None]).sum(axis=1) / np.maximum(weights.sum(axis=1, keepdims=True), 1e-9)


def _value(decoding: Mapping[str, Any], outputs: Mapping[str, Any], context: Context) -> List[Answer]:
    del context
    names = decoding["outputs"] or list(outputs)
    count = len(outputs[names[0]])
    answers: List[Answer] = []
    for index in range(count):
        values = {name: _plain(outputs[name][index], decoding["factor"], decoding["offset"]) for name in names}
        answers.append({"kind": "value", "values": values})
    return answers


def _plain(value: Any, factor: float, offset: float) -> Any:
    numbers = np.asarray(value, np.float64) * factor + offset
    return float(numbers.reshape(-1)[0]) if numbers.size == 1 else numbers.tolist()


def _arrays(decoding: Mapping[str, Any], outputs: Mapping[str, Any], context: Context) -> List[Answer]:
    del decoding, context
    first = next(iter(outputs.values()))
    count = len(first) if first.ndim else 1
    answers: List[Answer] = []
    for index in range(count):
        arrays = {
            name: np.asarray(value[index]) if value.ndim and len(value) == count else value for name, value in outputs.items()
        }
        answers.append({"kind": "arrays", "arrays": {name: _described(value) for name, value in arrays.items()}})
    return answers


def _described(value: Any) -> Dict[str, Any]:
    return {"dtype": str(value.dtype), "shape": list(value.shape), "values": value.reshape(-1).tolist()}


_DECODERS: Dict[str, Callable[[Mapping[str, Any], Mapping[str, Any], Context], List[Answer]]] = {
    "argmax": _classes,
    "multi-label": _multi_label,
    "spans": _spans,
    "answer-span": _answer,
    "boxes": _boxes_of,
    "segmentation": _segmentation,
    "ctc": _ctc,
    "text": _text,
    "embedding": _embedding,
    "value": _value,
    "arrays": _arrays,
}
