"""The stage `prune`: remove channels, then train the model against its teacher to recover."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from edgeopt.data.samples import Samples
from edgeopt.data.select import limited
from edgeopt.errors import ModelError
from edgeopt.models.kept import compose
from edgeopt.models.load import LoadedModel
from edgeopt.models.save import check_saved, copy_tokenizer, save_model
from edgeopt.models.size import measure
from edgeopt.prune.channels import prune_channels
from edgeopt.prune.config import PruneOptions
from edgeopt.prune.result import PruneResult
from edgeopt.train.loop import Session
from edgeopt.train.supervised import cross_entropy
from edgeopt.train.teach import Lesson, teach

_TAYLOR_SAMPLES = 64
_DEFAULTS = Session()


def prune(
    model: LoadedModel,
    teacher: LoadedModel,
    samples: Samples,
    *,
    output: Path,
    options: PruneOptions,
    session: Session = _DEFAULTS,
) -> PruneResult:
    """Remove channels from `model`, in place, let it recover, and write it to the folder `output`.

    Args:
        model: pruned and trained.
        teacher: the recovery's teacher; may be another copy of the model itself.
        samples: the training split.
        output: model.json (builder, kept indices) + model.safetensors.
        options: how much is removed, and how the model recovers.
        session: the recovery's seed, and where to resume it from.

    Raises:
        ModelError: the model cannot be pruned (transformers models cannot yet) or not that far, or its folder does not load.
    """
    if model.origin is None:
        raise ModelError(
            f"{type(model.module).__name__} is a transformers model, which cannot be pruned yet (heads, feed-forward layers); "
            f"use a student with fewer layers (distill.layers)"
        )
    torch.manual_seed(session.seed)
    one = samples.collate([0])
    before = measure(model.module, one)
    loss = partial(cross_entropy, samples=limited(samples, _TAYLOR_SAMPLES)) if samples.labels is not None else None
    pruned = prune_channels(model.module, samples.collate([0, 1]), options=options, loss=loss)
    lesson = Lesson(options.loss, options.train)
    recovery = teach(model.module, teacher.module, samples, lesson=lesson, session=session)
    origin = replace(model.origin, kept=compose(model.origin.kept, pruned.kept))
    save_model(model.module, output, origin=origin)
    copy_tokenizer(model.folder, output)
    check_saved(model.module, output, origin, samples.collate([0, 1]))
    return PruneResult(before, measure(model.module, one), pruned.layers, recovery.history, pruned.spared, output)
