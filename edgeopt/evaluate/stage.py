"""Evaluate: any number of models on one data set, side by side, each compared with the first in pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgeopt import progress
from edgeopt.config import Options
from edgeopt.data.readers import preprocessing_file
from edgeopt.data.select import limited
from edgeopt.data.source import needs_steps, open_source, options_of
from edgeopt.data.source_options import Reader
from edgeopt.documents import read_toml
from edgeopt.errors import DataError, RecipeError
from edgeopt.evaluate.lockstep import Evaluated, evaluate_together, usable
from edgeopt.evaluate.opened import OpenedModel, named, open_model
from edgeopt.files import sha256
from edgeopt.graph.provider import Provider
from edgeopt.interval import Interval
from edgeopt.tasks.comparison import interval, paired, wilson
from edgeopt.tasks.decoding import read_decoding
from edgeopt.tasks.metric import Measured
from edgeopt.tasks.paired import Paired
from edgeopt.tasks.registry import find_task, reading_name, task_for
from edgeopt.tasks.task import Task

if TYPE_CHECKING:
    from edgeopt.data.preprocessing import ImageInput
    from edgeopt.data.samples import Samples

_CPU = "CPUExecutionProvider"


class EvaluateConfig(Options):
    """How models are evaluated."""

    task: str | None = None
    """What the models are for; None: what the first model's folder says, or the kind of labels."""
    limit: int | None = None
    """Use at most this many samples, picked over the labels; None: all."""
    confidence: float = 0.95
    """Of the intervals."""
    split: str = "evaluation"
    """Split of a calibration set."""
    seed: int = 0
    """Of the pick that `limit` makes."""
    tokenizer: Path | None = None
    """Folder with tokenizer.json; None: that of a model's folder."""
    builder: str | None = None
    """Code that a saved folder may run."""
    decoding: Path | None = None
    """A .toml file that says how outputs become answers (`edgeopt.tasks.decoding`); None: what the task knows."""


@dataclass(frozen=True)
class Units:
    """The metric on the units of the data, in their order.

    Attributes:
        larger_is_better: direction of the metric.
        right: "1" for each answer that is right, else "0"; None: the metric is no share of right answers.
        drawn: else the metric on units drawn with replacement, the same ones for all models.
    """

    larger_is_better: bool
    right: str | None = None
    drawn: tuple[float, ...] | None = None

    @classmethod
    def of(cls, measured: Measured) -> Units:
        """Return the units of a metric that was measured."""
        better = measured.metric.larger_is_better
        if measured.right is not None:
            return cls(better, right="".join("1" if right else "0" for right in measured.right))
        return cls(better, drawn=tuple(float(value) for value in measured.drawn))


@dataclass(frozen=True)
class ModelScore:
    """How good one model is.

    Attributes:
        name: of the model.
        metric: what `value` is; "agreement" where there are no labels.
        value: the metric; None: the answers cannot be compared.
        low: lower end of its interval; None: it has none.
        high: upper end.
        agreement: with the first model, 0 to 1; None: not defined.
        paired: difference of the metric from the first model's; None: it is the first, or there are no labels.
        changed: answers that differ from the first model's.
        output_error: root mean square of the outputs' difference from the first model's, as a share; None: no such outputs.
        further: other metrics by name, and distances such as KL.
        units: how the metric came about, unit by unit, so that another evaluation can be compared with it in pairs.
    """

    name: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    agreement: float | None
    paired: Paired | None
    changed: int | None
    output_error: float | None
    further: dict[str, float]
    units: Units | None = None


@dataclass(frozen=True)
class Evaluation:
    """All models on the same samples; the first is the one that others are compared with."""

    task: str
    labelled: bool
    samples: int
    confidence: float
    models: tuple[ModelScore, ...]
    notes: tuple[str, ...]
    data: str = ""
    """SHA-256 of the samples as the first model takes them."""


_DEFAULTS = EvaluateConfig()


def evaluate(
    models: Sequence[str | Path],
    data: str | Samples,
    *,
    config: EvaluateConfig = _DEFAULTS,
    provider: Provider | None = None,
) -> Evaluation:
    """Evaluate models on one data set.

    Args:
        models: ONNX files, transformers folders, folders that edgeopt saved; the first is what others are compared with.
        data: a source of samples (`edgeopt.data.source`), or samples.
        config: task, limit, confidence.
        provider: runs ONNX files; None: the CPU.

    Raises:
        DataError: data, labels or outputs do not fit the task.
        ModelError: a model cannot be opened.
        RecipeError: there is no such task.
    """
    sources, provider = [str(model) for model in models], provider or Provider(name=_CPU)
    opened = [open_model(source, name, builder=config.builder) for source, name in zip(sources, named(sources), strict=True)]
    wanted = find_task(config.task) if config.task else None
    said = next((model.task for model in opened if model.task), None)
    chosen = _samples_of_each(opened, data, _reading_task(wanted, said), config, provider)
    task = wanted or task_for(chosen[0], said, _manifest_task(data))
    if config.decoding is not None:
        values = read_toml(config.decoding, error=RecipeError, what="a decoding")
        task = task.decoded(read_decoding(values, where=str(config.decoding)))
    runnables = [model.runnable(samples, task, provider) for model, samples in zip(opened, chosen, strict=True)]
    fitting = task if wanted else usable(task, runnables)
    found = evaluate_together(runnables, fitting, [None, *[0] * (len(runnables) - 1)])
    return judged(found, fitting, chosen[0], config.confidence)


def _reading_task(wanted: Task | None, said: str | None) -> str | None:
    """Return the task's own name for the readers of data; None: the data say it."""
    if wanted is not None:
        return wanted.name
    return reading_name(said)


def _manifest_task(data: str | Samples) -> str | None:
    from edgeopt.data.source import is_set, set_of

    manifest = set_of(data) if isinstance(data, str) and is_set(data) else None
    return manifest.task if manifest else None


def _samples_of_each(
    opened: Sequence[OpenedModel],
    data: str | Samples,
    task: str | None,
    config: EvaluateConfig,
    provider: Provider,
) -> list[Samples]:
    """Return for each model the same samples, prepared as it takes them."""
    tokenizer = config.tokenizer or next((model.tokenizer for model in opened if model.tokenizer), None)
    names = next((model.names for model in opened if model.names), ())
    read: dict[object, Samples] = {}
    chosen = []
    for model in opened:
        own = model.tokenizer  # (models with copies of one tokenizer read the same samples)
        key = (model.inputs, sha256(own / "tokenizer.json") if own else (model.path, model.folder))
        if key not in read:
            samples = data
            if isinstance(samples, str):
                steps = _assumed(model, samples, provider)
                reader = Reader(
                    model.inputs, config.tokenizer or own or tokenizer, model.signature, model.folder, names, task, steps
                )
                samples = open_source(samples, reader, split=config.split)
            read[key] = limited(renamed(samples, model.inputs), config.limit, seed=config.seed)
        chosen.append(read[key])
    counts = {len(samples) for samples in chosen}
    if len(counts) > 1:
        raise DataError(f"the models take other samples ({', '.join(map(str, sorted(counts)))}), so they cannot be compared")
    return chosen


def _assumed(model: OpenedModel, source: str, provider: Provider) -> ImageInput | None:
    """Return the preprocessing of a detector whose file states none; None: it is stated, or it is no detector of images."""
    from edgeopt.evaluate.assumed import assumed_steps

    if model.path is None or model.signature is None or not needs_steps(source):
        return None
    if options_of(source).preprocessing is not None or preprocessing_file(model.folder) is not None:
        return None
    return assumed_steps(model.path, model.signature, provider)


def renamed(samples: Samples, inputs: Sequence[str]) -> Samples:
    """Return samples of one array under the name of the model's one input."""
    if len(inputs) != 1 or not len(samples):
        return samples
    (name,), given = inputs, list(samples[0])
    if len(given) != 1 or given[0] == name or samples.layout is not None:
        return samples
    (old,) = given
    return replace(
        samples,
        read=lambda index: {name: samples.read(index)[old]},
        pad={name: samples.pad[old]} if old in samples.pad else {},
        ranges={name: samples.ranges[old]} if old in samples.ranges else {},
    )


def judged(found: Sequence[Evaluated], task: Task, samples: Samples, confidence: float = 0.95) -> Evaluation:
    """Return how good models are whose answers were found; the first is the one that others are compared with."""
    labelled = task.is_labelled(samples)
    measured = [task.measure(model.answers, samples) for model in found] if labelled else None
    scores, notes = [], list(task.warnings(found[0].answers, samples)) if labelled else []
    for number, model in enumerate(found):
        agreement = task.agreement(model.answers, found[0].answers)
        changed = task.changed(model.answers, found[0].answers) if agreement is not None else None
        value = (
            interval(measured[number], confidence) if measured else _agreed(agreement, changed, len(samples), task, confidence)
        )
        differs = None
        if measured and number:
            differs = paired(measured[0], measured[number], changed=changed or 0, confidence=confidence)
        further = {one.metric.name: one.value for one in task.further(model.answers, samples)} if labelled else {}
        further |= {name: distance for name in model.distances if (distance := model.distance(name)) is not None}
        errors = [error.relative for error in model.errors.values()]
        scores.append(
            ModelScore(
                name=model.name,
                metric=task.metric.name if labelled else "agreement",
                value=value.value if value else None,
                low=value.low if value else None,
                high=value.high if value else None,
                agreement=agreement,
                paired=differs,
                changed=changed if number else None,
                output_error=max(errors) if errors else None,
                further=further,
                units=Units.of(measured[number]) if measured else None,
            )
        )
    notes += [line for model in found for line in model.left_out]
    if not labelled:
        notes.append(
            "the samples have no labels for this task: models are judged by agreement with the first and by output error"
        )
        progress.note(notes[-1])
    return Evaluation(task.name, labelled, len(samples), confidence, tuple(scores), tuple(notes), samples.digest)


def _agreed(agreement: float | None, changed: int | None, count: int, task: Task, confidence: float) -> Interval | None:
    """Return the agreement; with an interval where it is the share of samples with the same answer."""
    if agreement is None:
        return None
    if changed is not None and abs(agreement - (1 - changed / count)) < 1e-9 and task.name == "single-label-classification":
        share = wilson(count - changed, count, confidence)
        return Interval(share.value, share.low, share.high, confidence)
    return Interval(agreement)
