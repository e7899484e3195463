"""Tiny random transformers of every kind, with inputs; shared by the tests of pruning."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import transformers
from torch import nn

from edgeopt.batches import Batch
from edgeopt.data.annotations import BoxTruth
from edgeopt.data.samples import Samples, from_arrays
from edgeopt.export.registry import load_family
from edgeopt.prune.structure.anatomy import anatomy_of
from edgeopt.prune.structure.parts import Part
from edgeopt.tasks.decoding import inference

ENCODERS = ("bert", "distilbert", "mpnet", "deberta_v2", "albert", "modernbert")
IMAGES = ("vit", "swin", "beit", "segformer", "dinov2")
DECODERS = ("llama", "gpt2", "opt", "qwen3", "gemma")
BOTH = ("t5", "bart", "whisper")


@functools.cache
def _made(family: str, seed: int) -> tuple[torch.nn.Module, Batch, str]:
    known = load_family(family)
    task, facts = next(iter(known.tasks.items()))
    config = transformers.AutoConfig.for_model(known.model_types[0], **known.tiny)
    torch.manual_seed(seed)
    model = getattr(transformers, facts.auto).from_config(config).eval()
    return model, _inputs(family, config), task.partition("/")[0]


def tiny(family: str, seed: int = 0) -> tuple[torch.nn.Module, Batch, str]:
    """Return a copy of a random model of `family`, inputs for it, and its task."""
    import copy

    model, batch, task = _made(family, seed)
    return copy.deepcopy(model), batch, task


def _inputs(family: str, config: Any) -> Batch:
    rng = np.random.default_rng(0)
    ids = rng.integers(5, 90, (3, 7))
    if family == "whisper":
        frames = rng.normal(size=(3, config.num_mel_bins, 2 * config.max_source_positions)).astype(np.float32)
        return {"input_features": frames, "decoder_input_ids": ids[:, :5]}
    if family in BOTH:
        return {"input_ids": ids, "decoder_input_ids": ids[:, :5]}
    if family in IMAGES:
        size = config.image_size if isinstance(getattr(config, "image_size", None), int) else 32
        return {"pixel_values": rng.normal(size=(3, 3, size, size)).astype(np.float32)}
    mask = np.ones_like(ids)
    mask[-1, 4:] = 0
    return {"input_ids": ids, "attention_mask": mask}


def texts(count: int = 12, *, classes: int = 2, length: int = 7, seed: int = 0) -> Samples:
    """Return labelled random token ids."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(5, 90, (count, length))
    return from_arrays({"input_ids": ids, "attention_mask": np.ones_like(ids)}, rng.integers(0, classes, count))


def planted() -> tuple[torch.nn.Module, Part, set[int]]:
    """Return a BERT in whose first feed-forward network only a few neurons do anything."""
    model, _, _ = tiny("bert")
    part = anatomy_of(model).part("bert.encoder.layer.0")
    alive = {3, 17, 40}
    with torch.no_grad():
        for cut in part.cuts():
            layer = model.get_submodule(cut.layer)
            quiet = [unit for unit in range(part.units) if unit not in alive]
            if cut.side == "in":
                layer.weight[:, quiet] *= 1e-3
                layer.weight[:, list(alive)] *= 5
            else:
                layer.weight[quiet] *= 1e-3
    return model, part, alive


class TinyDetector(nn.Module):
    """A map of objectness, box and two classes per cell of 8 pixels, as FastestDet has it."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.first, self.inner = nn.Conv2d(3, width, 8, 8), nn.Conv2d(width, width, 3, 1, 1)
        self.last = nn.Conv2d(width, 7, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return [N, 7, h, w] of images [N, 3, H, W]."""
        values = self.last(torch.relu(self.inner(torch.relu(self.first(images)))))
        return torch.cat([values[:, :1].sigmoid(), values[:, 1:5], values[:, 5:].softmax(1)], 1)


def tiny_detector(count: int = 8) -> tuple[TinyDetector, Samples]:
    """Return a detector that sees an object in every bright cell, and images with three such cells of 64, with boxes."""
    torch.manual_seed(0)
    detector = TinyDetector().eval()
    with torch.no_grad():
        for layer, values in ((detector.first, 1 / 192), (detector.inner, 0.0), (detector.last, 0.0)):
            layer.weight[0], layer.bias[0] = values, 0.0
        detector.inner.weight[0, 0, 1, 1] = 1.0
        detector.last.weight[0, 0], detector.last.bias[0] = 12.0, -12.0
    rng = np.random.default_rng(0)
    images = rng.normal(size=(count, 3, 64, 64)).astype(np.float32)
    for image in images:
        for cell in rng.choice(64, 3, replace=False):
            y, x = divmod(int(cell), 8)
            image[:, 8 * y : 8 * y + 8, 8 * x : 8 * x + 8] += 2.0
    box = BoxTruth(np.array([[8, 8, 40, 40]], np.float32), np.array([1]), np.array([False]))
    place = inference("decoding").Placement((64, 64), (64, 64), (1.0, 1.0), (0.0, 0.0))
    samples = from_arrays({"images": images})
    return detector, replace(samples, annotations=[box] * count, contexts=[place] * count, names=("cat", "dog"))
