"""The stage `distill`: train a smaller student on a teacher."""

from __future__ import annotations

from pathlib import Path

import torch

from edgeopt.data.samples import Samples
from edgeopt.distill.config import DistillOptions
from edgeopt.distill.result import DistillResult
from edgeopt.distill.student import keep_layers
from edgeopt.models.load import LoadedModel, Origin, build
from edgeopt.models.save import check_saved, copy_tokenizer, save_model
from edgeopt.models.size import measure
from edgeopt.train.loop import Session
from edgeopt.train.teach import Lesson, teach

_DEFAULTS = Session()


def distill(
    teacher: LoadedModel,
    samples: Samples,
    *,
    output: Path,
    options: DistillOptions,
    session: Session = _DEFAULTS,
) -> DistillResult:
    """Build the student that `options` describe, train it on the teacher, and write it to the folder `output`.

    Args:
        teacher: frozen during the training.
        samples: the training split; labels are the hard labels.
        output: created if necessary; a transformers folder, or model.json + model.safetensors.
        options: which student, which losses, how long.
        session: the seed (of first weights, order and dropout), and where to resume from.

    Raises:
        ModelError: the student cannot be built, or does not fit the teacher.
        DataError: labels are needed and missing.
    """
    torch.manual_seed(session.seed)
    student = build(options.source, options.arguments) if options.source else keep_layers(teacher.module, options.layers or [])
    lesson = Lesson(options.loss, options.train, options.layers)
    result = teach(student, teacher.module, samples, lesson=lesson, session=session)
    origin = Origin(options.source, options.arguments, task=teacher.task, labels=teacher.labels) if options.source else None
    save_model(student, output, origin=origin)
    copy_tokenizer(teacher.folder, output)
    if origin is not None:
        check_saved(student, output, origin, samples.collate([0]))
    one = samples.collate([0])
    sizes = measure(teacher.module, one), measure(student, one)
    return DistillResult(*sizes, result.steps, result.history, output)
