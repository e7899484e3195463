"""The stage `distill`: train a smaller student on a teacher."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from edgeopt import progress
from edgeopt.data.augment.config import AugmentOptions, TextViews
from edgeopt.data.samples import Samples
from edgeopt.data.select import limited
from edgeopt.distill.config import DistillOptions
from edgeopt.distill.narrow import narrow_model
from edgeopt.distill.result import DistillResult, Trial
from edgeopt.distill.student import choose_layers, influences, keep_layers, layer_count
from edgeopt.errors import DataError, RecipeError
from edgeopt.models.call import to_tensors
from edgeopt.models.load import LoadedModel, Origin, load_model
from edgeopt.models.save import check_saved, copy_tokenizer, save_model
from edgeopt.models.size import measure
from edgeopt.tasks.language_model import LanguageModel
from edgeopt.tasks.registry import task_for
from edgeopt.tasks.single_label import SingleLabel
from edgeopt.tasks.task import Task
from edgeopt.train.config import DistillLoss, TrainOptions
from edgeopt.train.loop import Session, TrainResult
from edgeopt.train.task_loss import check_classes, evaluator, fitted, subject_of
from edgeopt.train.teach import Lesson, teach
from edgeopt.train.watch import Watch

_DEFAULTS = Session()
_MADE_OF_TEACHER = {"temperature": 2.0, "soft_weight": 0.9, "hidden_weight": 1.0}
_EPOCHS = 6.0
"""What is usual for a student that is made of its teacher, where nothing is said (docs/distillation.md)."""
_OBSERVED, _BATCH = 256, 32  # samples that layers and widths are chosen with


@dataclass(frozen=True)
class Material:
    """What a student is trained and judged with, besides the training split.

    Attributes:
        evaluation: labelled samples that the best weights are chosen with; None: the last weights are kept.
        unlabelled: further samples that the teacher alone labels.
        task: what the models are for; None: what the teacher says, or the labels.
        builder: code that the student's folder may run, besides edgeopt's own.
    """

    evaluation: Samples | None = None
    unlabelled: Samples | None = None
    task: Task | None = None
    builder: str | None = None


_NOTHING = Material()


@dataclass(frozen=True)
class _Student:
    module: nn.Module
    layers: list[int] | None = None
    basis: torch.Tensor | None = None
    origin: Origin | None = None


def distill(
    teacher: LoadedModel,
    samples: Samples,
    *,
    output: Path,
    options: DistillOptions,
    session: Session = _DEFAULTS,
    material: Material = _NOTHING,
) -> DistillResult:
    """Build the student that `options` describe, train it on the teacher, and write it to the folder `output`.

    Args:
        teacher: frozen during the training.
        samples: the training split; labels are the hard labels.
        output: created if necessary; a transformers folder, or model.json + model.safetensors.
        options: which student, which losses, how long.
        session: the seed (of first weights, views, order and dropout), and where to resume from.
        material: evaluation and unlabelled samples, the task.

    Raises:
        ModelError: the student cannot be built, or does not fit the teacher.
        DataError: labels are needed and missing.
    """
    if not len(samples):
        raise DataError("the training split has no samples")
    task = material.task or task_for(samples, teacher.purpose)
    samples = task.with_answers(samples, teacher.module)
    torch.manual_seed(session.seed)
    student = _student(teacher, samples, options, material.builder)
    _check_task(options.loss, task)
    check_classes(task, teacher.module, student.module, samples)
    task = fitted(task, teacher.module, samples)
    options = _settled(options, teacher, student, samples, task)
    watch = Watch(evaluator(task, material.evaluation)) if material.evaluation is not None else Watch()
    lesson = _lesson(teacher, options, student, task, material)
    result = teach(student.module, teacher.module, samples, lesson=lesson, session=session, watch=watch)
    save_model(student.module, output, origin=student.origin)
    copy_tokenizer(teacher.folder, output)
    if student.origin is not None:
        check_saved(student.module, output, student.origin, samples.collate([0]))
    one = samples.collate([0])
    sizes = measure(teacher.module, one), measure(student.module, one)
    teachers = watch.evaluate(teacher.module).value if watch.evaluate else None
    trials = _trials(teacher, samples, options, session, replace(material, task=task), watch, result)
    return DistillResult(*sizes, result.steps, result.history, result.evaluations, teachers, trials, result.kept_step, output)


def _check_task(loss: DistillLoss, task: Task) -> None:
    """Make sure that only language models are asked to write."""
    if (loss.sequence_weight or loss.on_policy_weight) and task.name != LanguageModel.name:
        raise RecipeError(
            f"loss.sequence_weight and loss.on_policy_weight are for language models ({LanguageModel.name}), not for "
            f"{task.name}: set both to 0"
        )


def _student(teacher: LoadedModel, samples: Samples, options: DistillOptions, builder: str | None) -> _Student:
    """Return the student before its training, and which layer of the teacher each of its layers is."""
    if options.source:
        loaded = load_model(options.source, task=teacher.task, arguments=options.arguments, source_builder=builder)
        origin = replace(loaded.origin, task=teacher.task, labels=teacher.labels) if loaded.origin else None
        return _Student(loaded.module, origin=origin)
    module, layers = teacher.module, options.layers
    if options.layer_count is not None:
        known = influences(module, _observed(samples)) if options.layer_choice == "similarity" else ()
        layers = choose_layers(options.layer_count, layer_count(module), options.layer_choice, known)
        progress.note(f"the student keeps the teacher's layers {', '.join(map(str, layers))}")
    if layers is not None:
        module = keep_layers(module, layers)
    if options.width is None:
        return _Student(module, layers)
    narrowed = narrow_model(module, options.width, _observed(samples))
    return _Student(narrowed.module, layers or list(range(layer_count(teacher.module))), narrowed.basis)


def _observed(samples: Samples) -> list[dict[str, torch.Tensor]]:
    return [to_tensors(batch) for batch in limited(samples, _OBSERVED).sorted_batches(_BATCH)]


def _settled(options: DistillOptions, teacher: LoadedModel, student: _Student, samples: Samples, task: Task) -> DistillOptions:
    """Return the options with what they leave open decided: labels that are missing, views, frozen embeddings."""
    train, loss = options.train, options.loss
    changes: dict[str, object] = {}
    if train.augment is None and isinstance(task, SingleLabel) and _has_text(teacher, samples):
        changes["augment"] = AugmentOptions(views=8, text=TextViews(join=0.15))
    if train.freeze is None and not options.source and options.width is None:
        names = [name for name, _ in student.module.named_parameters()]
        changes["freeze"] = ["embeddings"] if any("embeddings" in name for name in names) else []
    if not options.source and "epochs" not in train.model_fields_set:
        changes["epochs"] = _EPOCHS
    if not options.source:
        usual = {key: value for key, value in _MADE_OF_TEACHER.items() if key not in loss.model_fields_set}
        if options.teacher_onnx:
            usual.pop("hidden_weight", None)
        loss = loss.model_copy(update=usual)
    if not task.is_labelled(samples) and "soft_weight" not in options.loss.model_fields_set:
        loss = loss.model_copy(update={"soft_weight": 1.0})
    return options.model_copy(update={"train": train.model_copy(update=changes), "loss": loss})


def _has_text(teacher: LoadedModel, samples: Samples) -> bool:
    return teacher.folder is not None and (teacher.folder / "tokenizer.json").is_file() and "input_ids" in samples[0]


def _lesson(teacher: LoadedModel, options: DistillOptions, student: _Student, task: Task, material: Material) -> Lesson:
    return Lesson(
        options.loss,
        options.train,
        student.layers,
        subject=subject_of(task),
        unlabelled=material.unlabelled,
        tokenizer=teacher.folder,
        onnx=Path(options.teacher_onnx) if options.teacher_onnx else None,
        basis=student.basis,
    )


def _trials(  # noqa: PLR0917
    teacher: LoadedModel,
    samples: Samples,
    options: DistillOptions,
    session: Session,
    material: Material,
    watch: Watch,
    first: TrainResult,
) -> tuple[Trial, ...]:
    """Train the other students and controls that `options` ask for, and score all of them."""
    if options.seeds == 1 and not options.control:
        return ()
    if watch.evaluate is None:
        raise DataError("distill.control and distill.seeds compare scores: give evaluation samples with labels")
    kept = next((item for item in first.evaluations if item.step == first.kept_step), first.evaluations[-1])
    trials = [Trial("distilled", session.seed, kept.metric, kept.value)]
    plain = {"loss": DistillLoss(soft_weight=0.0), "train": _plain(options.train)}
    for seed in range(session.seed, session.seed + options.seeds):
        for kind, chosen in (("distilled", options), ("control", options.model_copy(update=plain))):
            if (kind == "distilled" and seed == session.seed) or (kind == "control" and not options.control):
                continue
            progress.note(f"{kind}, seed {seed}")
            torch.manual_seed(seed)
            student = _student(teacher, samples, options, material.builder)
            assert material.task is not None
            lesson = _lesson(
                teacher,
                chosen,
                student,
                material.task,
                replace(material, unlabelled=None if kind == "control" else material.unlabelled),
            )
            own = Session(seed, session.checkpoint / f"{kind}-{seed}" if session.checkpoint else None, f"{session.key} {kind}")
            teach(student.module, teacher.module, samples, lesson=lesson, session=own, watch=watch)
            score = watch.evaluate(student.module)
            trials.append(Trial("control" if kind == "control" else "distilled", seed, score.metric, score.value))
    return tuple(trials)


def _plain(train: TrainOptions) -> TrainOptions:
    """Return the options without views: hard labels do not hold for parts of sentences."""
    return train.model_copy(update={"augment": None})
