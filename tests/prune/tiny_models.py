"""Tiny random transformers of every kind, with inputs; shared by the tests of pruning."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
import transformers

from edgeopt.batches import Batch
from edgeopt.data.samples import Samples, from_arrays
from edgeopt.export.registry import load_family
from edgeopt.prune.structure.anatomy import anatomy_of
from edgeopt.prune.structure.parts import Part

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
