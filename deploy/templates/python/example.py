#!/usr/bin/env python3
"""Run the model of this bundle on real data. Needs Python 3.9 or later, numpy and onnxruntime.

    python example.py                 the first golden sample
    python example.py IMAGE           image models: .npy of uint8 height × width × channels; .jpg, .png … with Pillow
    python example.py "A text"        text models; other tokenizers than BERT's with the package tokenizers
    python example.py INPUT.npy       array models; .npz holds one array for each input

`bundle.json` says what to do; each function below is one step of it, to be copied into a product.
"""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

HERE = Path(__file__).resolve().parent
_CONTROLS = {"Cc", "Cf", "Co", "Cs"}
_CHINESE = re.compile(
    "([\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002a6df\U0002a700-\U0002b81f\U0002b920-\U0002ceaf\U0002f800-\U0002fa1f])"
)


def preprocess(source: str, manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the model's inputs, by name, for the path of an image, a text or a path of arrays."""
    steps = manifest["preprocessing"]
    if steps["kind"] == "image":
        name = steps["input"] or manifest["inputs"][0]["name"]
        dtype = next(tensor["dtype"] for tensor in manifest["inputs"] if tensor["name"] == name)
        return {name: image_input(read_pixels(source), steps).astype(dtype)}
    if steps["kind"] == "tokenizer":
        return token_input([source], steps, manifest["inputs"])
    arrays = np.load(source, allow_pickle=False)
    return {tensor["name"]: arrays[tensor["name"]] if source.endswith(".npz") else arrays for tensor in manifest["inputs"]}


def read_pixels(path: str) -> Any:
    """Return an image as uint8 [height, width, 3], in RGB."""
    if path.endswith(".npy"):
        pixels = np.load(path, allow_pickle=False)
        return np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels
    try:
        from PIL import Image
    except ImportError:
        sys.exit(f"example: to read {path}, install Pillow, or give the pixels as .npy")
    return np.asarray(Image.open(path).convert("RGB"))


def image_input(pixels: Any, steps: dict[str, Any]) -> Any:
    """Return the image [height, width, 3] in the form of the model's input, float32 with a batch axis of 1."""
    height, width = steps["height"], steps["width"]
    values = pixels.astype(np.float32)
    if steps["colour"] == "GREY" and values.shape[2] == 3:
        values = np.rint(values @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]  # ITU-R 601, as Pillow's "L"
    elif steps["colour"] == "BGR":
        values = values[..., ::-1]
    if steps["shorter_edge"]:
        ratio = steps["shorter_edge"] / min(values.shape[:2])
        values = resize(values, int(values.shape[0] * ratio), int(values.shape[1] * ratio), steps["resample"])
        top, left = (values.shape[0] - height) // 2, (values.shape[1] - width) // 2
        values = values[top : top + height, left : left + width]
    elif values.shape[:2] != (height, width):
        values = resize(values, height, width, steps["resample"])
    values = (values - np.array(steps["mean"], np.float32)) / np.array(steps["scale"], np.float32)
    return np.ascontiguousarray(values.transpose(2, 0, 1) if steps["layout"] == "NCHW" else values)[None]


def resize(values: Any, height: int, width: int, resample: str) -> Any:
    """Return float pixels [h, w, c] as [height, width, c] in whole steps of 0…255, axis after axis as Pillow does it."""
    if resample == "nearest":
        rows = ((np.arange(height) + 0.5) * values.shape[0] / height).astype(int)
        columns = ((np.arange(width) + 0.5) * values.shape[1] / width).astype(int)
        return values[rows][:, columns]
    across = np.einsum("wx,hxc->hwc", triangle(values.shape[1], width), values)
    down = np.einsum("hy,ywc->hwc", triangle(values.shape[0], height), np.rint(across))
    return np.clip(np.rint(down), 0, 255)


def triangle(size: int, new_size: int) -> Any:
    """Return the weights [new_size, size] of a bilinear resize whose filter is as wide as the reduction (antialiased)."""
    ratio = size / new_size
    reach = max(ratio, 1.0)
    centres = (np.arange(new_size) + 0.5) * ratio
    distance = np.abs(np.arange(size)[None, :] + 0.5 - centres[:, None]) / reach
    weights = np.maximum(0.0, 1.0 - distance)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def token_input(texts: list[str], steps: dict[str, Any], inputs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return token ids, attention mask and segments (all 0) [batch, length], padded at the end to the longest text."""
    path = HERE / steps["file"]
    settings = json.loads(path.read_text(encoding="utf-8"))
    encode = wordpiece_encode if is_wordpiece(settings) else library_encode
    encoded = [encode(text, settings, steps["max_length"], path) for text in texts]
    length = max(map(len, encoded))
    dtypes = {tensor["name"]: tensor["dtype"] for tensor in inputs}
    feeds = {}
    for key, rows, fill in (
        ("input_ids", encoded, steps["padding"]),
        ("attention_mask", [[1] * len(ids) for ids in encoded], 0),
        ("token_type_ids", [[0] * len(ids) for ids in encoded], 0),
    ):
        name = steps[key]
        if name in dtypes:
            feeds[name] = np.array([list(row) + [fill] * (length - len(row)) for row in rows], dtypes[name])
    return feeds


def library_encode(text: str, settings: dict[str, Any], max_length: int, path: Path) -> list[int]:
    """Return token ids by the package tokenizers, for every tokenizer that is not BERT's."""
    try:
        from tokenizers import Tokenizer
    except ImportError:
        sys.exit(f"example: a {settings['model']['type']} tokenizer needs the package tokenizers: pip install tokenizers")
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length)
    return list(tokenizer.encode(text).ids)


def is_wordpiece(settings: dict[str, Any]) -> bool:
    """Say whether a tokenizer.json is BERT's, which this file follows by itself."""
    kinds = [(settings.get(part) or {}).get("type") for part in ("normalizer", "pre_tokenizer", "model", "post_processor")]
    plain = not any(token["normalized"] or token["lstrip"] or token["rstrip"] for token in settings["added_tokens"])
    return plain and kinds == ["BertNormalizer", "BertPreTokenizer", "WordPiece", "TemplateProcessing"]


def wordpiece_encode(text: str, settings: dict[str, Any], max_length: int, path: Path) -> list[int]:  # noqa: ARG001
    """Return token ids as BERT's tokenizer does: special tokens, clean, split, then the longest known pieces of each word."""
    special = {token["content"]: token["id"] for token in settings["added_tokens"]}
    ids: list[int] = []
    for part in re.split("(" + "|".join(map(re.escape, special)) + ")", text) if special else [text]:
        if part in special:
            ids.append(special[part])
        else:
            for word in bert_words(part, settings["normalizer"]):
                ids += pieces(word, settings["model"])
    template = settings["post_processor"]["single"]
    known = settings["post_processor"]["special_tokens"]
    places = [None if "Sequence" in item else known[item["SpecialToken"]["id"]]["ids"] for item in template]
    room = max_length - sum(len(place) for place in places if place is not None)
    return [token for place in places for token in (ids[:room] if place is None else place)]


def bert_words(text: str, normalizer: dict[str, Any]) -> list[str]:
    """Return the words and single punctuation marks of a text, cleaned, in lower case and without accents if so trained.

    Of the characters that came with Unicode 9 (2016) and later, a few hundred are classed otherwise by the package tokenizers.
    """
    if normalizer["clean_text"]:
        kept = [char for char in text if char in "\t\n\r" or not (char == "\ufffd" or unicodedata.category(char) in _CONTROLS)]
        text = "".join(" " if char.isspace() else char for char in kept)
    if normalizer["handle_chinese_chars"]:
        text = _CHINESE.sub(r" \1 ", text)
    strip = normalizer["strip_accents"]
    if normalizer["lowercase"] if strip is None else strip:
        text = "".join(char for char in unicodedata.normalize("NFD", text) if unicodedata.category(char) != "Mn")
    if normalizer["lowercase"]:
        text = "".join(char.lower() for char in text)
    marked = (f" {char} " if is_punctuation(char) else char for char in text)
    return "".join(marked).split()


def is_punctuation(char: str) -> bool:
    """Say whether a character stands alone: Unicode's punctuation, and ASCII's symbols such as "$"."""
    return unicodedata.category(char)[0] == "P" or (
        char.isascii() and char.isprintable() and not char.isalnum() and char != " "
    )


def pieces(word: str, model: dict[str, Any]) -> list[int]:
    """Return the ids of the longest pieces, from the left, that make up the word; the unknown token if there are none."""
    vocabulary, unknown = model["vocab"], model["vocab"][model["unk_token"]]
    if len(word) > model["max_input_chars_per_word"]:
        return [unknown]
    found, start = [], 0
    while start < len(word):
        prefix = model["continuing_subword_prefix"] if start else ""
        end = next((end for end in range(len(word), start, -1) if prefix + word[start:end] in vocabulary), None)
        if end is None:
            return [unknown]
        found.append(vocabulary[prefix + word[start:end]])
        start = end
    return found


def golden_input(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the inputs of the first golden sample."""
    with np.load(HERE / manifest["golden"]["file"], allow_pickle=False) as arrays:
        return {tensor["name"]: arrays[f"sample0000.input{k}"] for k, tensor in enumerate(manifest["inputs"])}


def describe(name: str, value: Any, labels: list[str]) -> str:
    """Return one line about an output: its best classes where it has one value for each label, else shape and range."""
    if labels and value.ndim == 2 and value.shape[-1] == len(labels):
        scores = np.exp(value[0] - value[0].max())
        order = np.argsort(-value[0], kind="stable")[:3]
        best = [f"{labels[k]} ({value[0, k]:.3g}, softmax {scores[k] / scores.sum():.3f})" for k in order]
        return f"{name}: {', '.join(best)}"
    span = f" from {value.min():.4g} to {value.max():.4g}" if value.size and value.dtype.kind in "fiu" else ""
    return f"{name}: {value.dtype}{list(value.shape)}{span}"


def main() -> int:
    """Run the model once and print what comes out."""
    manifest = json.loads((HERE / "bundle.json").read_text(encoding="utf-8"))
    feeds = preprocess(sys.argv[1], manifest) if len(sys.argv) > 1 else golden_input(manifest)
    options = ort.SessionOptions()
    options.log_severity_level = 3  # errors only
    session = ort.InferenceSession(str(HERE / manifest["model"]["file"]), options, providers=["CPUExecutionProvider"])
    for tensor, value in zip(session.get_outputs(), session.run(None, feeds)):  # noqa: B905  (strict= needs Python 3.10)
        print(describe(tensor.name, np.asarray(value), manifest["labels"]))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
