"""One streaming pass of a model over calibration data, with the tensors to observe as extra outputs.

Nothing of a batch outlives it but the statistics, so memory does not grow with the number of samples. If all observed tensors
of one batch do not fit a limit, they are taken in turns: one pass over the data for each group of tensors.

Statistics merge, so the batches can be shared out to processes (`shards.py`) and kept in a file that is taken up again
(`cache.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from pathlib import Path

import numpy as np
import onnx_ir as ir

from edgeopt import progress
from edgeopt.batches import Array, Batch, Batches
from edgeopt.data.checks import is_additive_mask
from edgeopt.errors import DataError
from edgeopt.graph.batch_axes import batch_axes, rows
from edgeopt.graph.exposed import ExposedModel
from edgeopt.graph.macs import tensor_shapes
from edgeopt.graph.signature import Signature
from edgeopt.quantize.calibrate.histogram import Histogram
from edgeopt.quantize.calibrate.memory import give_back_freed_blocks
from edgeopt.quantize.calibrate.rows import RowSample
from edgeopt.quantize.calibrate.samples import checked, pieces
from edgeopt.quantize.calibrate.statistics import Channels, MovingAverage, TensorStatistics
from edgeopt.quantize.infinite_values import reached_by_infinity


@dataclass(frozen=True)
class ObserveConfig:
    """What is kept, how much memory and how many threads and processes the pass may take, and where it is kept."""

    histograms: bool | frozenset[str] = True
    """Keep histograms of all tensors, of none, or of those named."""
    counted: int | None = None
    """The number of values of an array that are enough for its histogram; None: all are counted."""
    momentum: float = 0.9
    threads: int = 1
    memory_limit_bytes: int | None = None
    jobs: int = 1
    aside: int = 0
    """Hold this many batches aside, picked at random (the same ones each time)."""
    cache: Path | None = None
    """A file of statistics: taken if it is of this model, data and options, else refused; written if it is not there."""

    @property
    def listed_histograms(self) -> bool | list[str]:
        """`histograms` as JSON has it."""
        return self.histograms if isinstance(self.histograms, bool) else sorted(self.histograms)


@dataclass(frozen=True)
class Observations:
    """The statistics of each observed tensor, and how many samples and batches they come from."""

    tensors: Mapping[str, TensorStatistics]
    samples: int
    batches: int
    turns: int
    aside: dict[str, TensorStatistics] = field(default_factory=dict)
    """Of the batches that were held aside, by tensor, until they join the others."""
    held: tuple[Batch, ...] = ()
    """These batches, in parts that the model takes."""

    def joined(self) -> Observations:
        """Return the observations with what was held aside among them; the statistics of these are changed in place."""
        while self.aside:
            name, statistics = self.aside.popitem()
            self.tensors[name].merge(statistics)
        return replace(self, aside={}, held=())


@dataclass(frozen=True)
class Task:
    """What is observed: tensors of a model, with the channel axis of those that have one."""

    model: ir.Model
    tensors: Sequence[str]
    signature: Signature
    channels: Mapping[str, int]
    config: ObserveConfig
    aside: frozenset[int] = frozenset()
    """The numbers of batches whose statistics are kept apart."""

    def reached_by_infinity(self, masks: frozenset[str] = frozenset()) -> set[str]:
        """Return the tensors that may be infinite on sound samples; `masks`: inputs that hold -inf."""
        if masks not in self._reached:
            self._reached[masks] = reached_by_infinity(self.model, masks)
        return self._reached[masks]

    @cached_property
    def _reached(self) -> dict[frozenset[str], set[str]]:
        return {}


@dataclass
class Progress:
    """How far a pass has come: whole turns, and samples and batches of the next one."""

    statistics: dict[str, TensorStatistics]
    turn: int = 0
    samples: int = 0
    batches: int = 0
    done: bool = False
    turns: list[list[str]] = field(default_factory=list)
    aside: dict[str, TensorStatistics] = field(default_factory=dict)


def start(task: Task, turns: list[list[str]]) -> Progress:
    """Return the progress of a pass that has not begun."""
    aside = {name: _empty(name, task) for name in task.tensors} if task.aside else {}
    return Progress({name: _empty(name, task) for name in task.tensors}, turns=turns, aside=aside)


def whole(task: Task, state: Progress) -> Observations:
    """Return what a finished pass saw, tensors in the order of the task however they were stored."""
    tensors = {name: state.statistics[name] for name in task.tensors}
    return Observations(tensors, state.samples, state.batches, len(state.turns), state.aside)


Save = Callable[[Progress], None]


def advance_all(
    task: Task, batches: Batches, state: Progress, *, first: int = 0, save: Save | None = None, every: int = 64
) -> Progress:
    """Carry a pass on to its end.

    Args:
        task: what is observed.
        batches: all of them; those that `state` has behind it are skipped.
        state: where to start; changed in place.
        first: the number of the first sample, in errors.
        save: called with the state after `every` batches and after each turn, so that a killed pass can be taken up again.
        every: batches between two saves.
    """
    while state.turn < len(state.turns):
        title = f"calibrate ({state.turn + 1}/{len(state.turns)})"
        with progress.task(title, total=len(batches)) as advance:
            _advance_turn(task, _ticking(batches, advance), state, first, (save, every))
        state.turn += 1
        if state.turn < len(state.turns):
            state.samples = state.batches = 0
        if save is not None:
            save(state)
    state.done = True
    return state


def _ticking(batches: Batches, advance: progress.Advance) -> Iterator[Batch]:
    for batch in batches:
        yield batch
        advance()


def _wants_histogram(name: str, config: ObserveConfig) -> bool:
    return config.histograms if isinstance(config.histograms, bool) else name in config.histograms


def _empty(name: str, task: Task) -> TensorStatistics:
    axis = task.channels.get(name)
    return TensorStatistics(
        moving=MovingAverage(task.config.momentum),
        histogram=Histogram() if _wants_histogram(name, task.config) else None,
        channels=None if axis is None else Channels(axis),
        sample=RowSample() if axis == -1 else None,
    )


def _advance_turn(task: Task, batches: Iterator[Batch], state: Progress, first: int, saving: tuple[Save | None, int]) -> None:
    """Feed the batches that are left of one turn; `state.batches` counts them as the user gave them."""
    save, every = saving
    tensors = state.turns[state.turn]
    inputs = {value.name for value in task.model.graph.inputs}
    inner = [name for name in tensors if name not in inputs]
    arena = task.config.memory_limit_bytes is None
    if not arena:
        give_back_freed_blocks()
    exposed = ExposedModel(task.model, inner, threads=task.config.threads, arena=arena)
    axes = batch_axes(task.signature)
    for number, given in enumerate(batches):
        if number < state.batches:
            continue
        statistics = state.aside if number in task.aside else state.statistics
        for batch in pieces(given, task.signature, first + state.samples):
            _take_in(batch, tensors, exposed, statistics, (task, first + state.samples))
            state.samples += rows(batch, axes)
        state.batches += 1
        if save is not None and state.batches % every == 0:
            save(state)
    if not state.samples:
        raise DataError("the calibration set is empty; give at least one sample")


def _take_in(
    batch: Batch,
    tensors: Sequence[str],
    exposed: ExposedModel,
    statistics: Mapping[str, TensorStatistics],
    about: tuple[Task, int],
) -> None:
    """Add one batch to the statistics; `about`: the task, and the number of the batch's first sample."""
    task, sample = about
    for name in tensors:
        if name in batch:
            statistics[name].add(batch[name], counted=task.config.counted)
    for name, values in exposed(batch, sample=sample).items():
        with np.errstate(invalid="ignore"):  # sums of infinities
            statistics[name].add(values, counted=task.config.counted)
        if not _is_sound(name, values, statistics[name], task, batch):
            raise DataError(
                f"calibration sample {sample}: the model's tensor '{name}' becomes NaN or infinite; "
                "check the sample's preprocessing, or the model in floating point"
            )


def _is_sound(name: str, values: Array, statistics: TensorStatistics, task: Task, batch: Batch) -> bool:
    """Return whether a tensor has no NaN, and no infinity but what the model's constants or masks among the inputs bring.

    The statistics, which have seen `values` and those before, tell soonest that nothing is infinite.
    """
    extremes = [statistics.minimum, statistics.maximum] if statistics.count else []
    if np.isnan(extremes).any():
        return False
    if not np.isinf(extremes).any() or name in task.reached_by_infinity() or not np.isinf(values).any():
        return True
    return name in task.reached_by_infinity(frozenset(key for key, given in batch.items() if is_additive_mask(given)))


def plan_turns(task: Task, batches: Batches) -> list[list[str]]:
    """Group the tensors so that one batch of each group fits the memory limit; measured on the first batch, largest first."""
    tensors = list(task.tensors)
    limit = task.config.memory_limit_bytes
    if limit is None or not tensors:
        return [tensors]
    first = next(checked(batches, task.signature))
    shapes = tensor_shapes(task.model, first, tensors)
    sizes = {name: 4 * prod(shapes[name]) for name in tensors}
    turns: list[list[str]] = []
    room: list[int] = []
    for name in sorted(tensors, key=lambda name: (-sizes[name], name)):
        place = next((index for index, left in enumerate(room) if left >= sizes[name]), None)
        if place is None:
            turns.append([])
            room.append(limit)
            place = len(turns) - 1
        turns[place].append(name)
        room[place] -= sizes[name]
    return turns
