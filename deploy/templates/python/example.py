#!/usr/bin/env python3
"""Run the model of this bundle on real data. Needs Python 3.9 or later, numpy and onnxruntime.

    python example.py                 the first golden sample
    python example.py IMAGE           image models: .npy of uint8 height × width × channels; .jpg, .png … with Pillow
    python example.py "A text"        text models; other tokenizers than BERT's with the package tokenizers
    python example.py "Who?" "A text" models that take pairs of texts
    python example.py SOUND.wav       audio models
    python example.py INPUT.npy       array models; .npz holds one array for each input

The folder `inference` beside it follows bundle.json step by step, in plain numpy: copy it into a product.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.dont_write_bytecode = True  # a bundle holds its recorded files and no others
sys.path.insert(0, str(HERE))
from inference.pipeline import Bundle, Prepared


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


def lines(answer: dict[str, Any]) -> list[str]:
    """Return an answer in words; none for kinds that the outputs' own lines show."""
    if answer["kind"] == "boxes":
        return [f"{box['label']} {box['score']:.3f} at {[round(edge) for edge in box['box']]}" for box in answer["boxes"]]
    if answer["kind"] == "spans":
        return [f"{span['label']} {span['score']:.3f}: {span['text']}" for span in answer["spans"]]
    if answer["kind"] in ("text", "answer"):
        return [answer["text"]]
    if answer["kind"] == "labels":
        return [f"{entry['label']} {entry['score']:.3f}" for entry in answer["classes"]]
    return []


def main() -> int:
    """Run the model once and print what comes out."""
    try:
        bundle = Bundle(str(HERE))
        raw = sys.argv[1] if len(sys.argv) == 2 else sys.argv[1:]
        prepared = bundle.prepare(raw) if raw else Prepared(golden_input(bundle.manifest))
        outputs = bundle.run(prepared.feeds)
    except ValueError as error:
        sys.exit(f"example: {error}")
    for name, value in outputs.items():
        print(describe(name, np.asarray(value), bundle.labels))
    if raw:
        print("".join(f"{line}\n" for line in lines(bundle.answer(outputs, prepared))), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
