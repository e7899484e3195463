"""One streaming pass of a model over calibration data, with the tensors to observe as extra outputs.

Nothing of a batch outlives it but the statistics, so memory does not grow with the number of samples. If all observed tensors
of one batch do not fit a limit, they are taken in turns: one pass over the data for each group of tensors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx

from edgeopt import progress
from edgeopt.data.batches import Batch, Batches
from edgeopt.errors import DataError
from edgeopt.models.onnx_file import Signature
from edgeopt.models.onnx_macs import tensor_shapes
from edgeopt.quantize.graph.outputs import expose, open_exposed, run
from edgeopt.quantize.observe.histogram import Histogram
from edgeopt.quantize.observe.rows import RowSample
from edgeopt.quantize.observe.samples import checked
from edgeopt.quantize.observe.statistics import Channels, MovingAverage, TensorStatistics


@dataclass(frozen=True)
class ObserveConfig:
    """What is kept, and how much memory and how many threads the pass may take."""

    histograms: bool = True
    momentum: float = 0.9
    threads: int = 1
    memory_limit_bytes: int | None = None


@dataclass(frozen=True)
class Observations:
    """The statistics of each observed tensor, and how many samples and batches they come from."""

    tensors: Mapping[str, TensorStatistics]
    samples: int
    batches: int
    turns: int


def observe(
    model: onnx.ModelProto,
    batches: Batches,
    tensors: Sequence[str],
    *,
    signature: Signature,
    channels: Mapping[str, int],
    config: ObserveConfig = ObserveConfig(),
) -> Observations:
    """Run `model` over `batches` and return statistics of `tensors`.

    Args:
        model: in memory, floating point.
        batches: calibration batches; shapes may differ from one to the next.
        tensors: names of floating-point tensors of the main graph: inputs, outputs or anything between.
        signature: of the model, to check the batches against.
        channels: the axis of each tensor whose per-channel extremes are wanted as well; of those whose axis is -1, some rows
            are kept (`RowSample`).
        config: what is kept.

    Raises:
        DataError: the batches do not fit the model, or a tensor became NaN or infinite on one of them.
    """
    statistics = {name: _empty(name, channels, config) for name in tensors}
    turns = _turns(model, batches, tensors, signature, config)
    samples = count = 0
    for number, turn in enumerate(turns):
        with progress.task(f"calibrate ({number + 1}/{len(turns)})", total=len(batches)) as advance:
            samples, count = _pass(model, checked(_ticking(batches, advance), signature), turn, statistics, config)
    return Observations(statistics, samples, count, len(turns))


def _ticking(batches: Batches, advance: progress.Advance) -> Iterator[Batch]:
    for batch in batches:
        yield batch
        advance()


def _empty(name: str, channels: Mapping[str, int], config: ObserveConfig) -> TensorStatistics:
    return TensorStatistics(
        moving=MovingAverage(config.momentum),
        histogram=Histogram() if config.histograms else None,
        channels=Channels(channels[name]) if name in channels else None,
        sample=RowSample() if channels.get(name) == -1 else None,
    )


def _pass(
    model: onnx.ModelProto,
    batches: Iterable[Batch],
    tensors: Sequence[str],
    statistics: Mapping[str, TensorStatistics],
    config: ObserveConfig,
) -> tuple[int, int]:
    """Feed all batches once and return how many samples and batches there were."""
    inputs = {value.name for value in model.graph.input}
    inner = [name for name in tensors if name not in inputs]
    session = open_exposed(expose(model, inner), threads=config.threads)
    samples = count = 0
    for batch in batches:
        for name in tensors:
            if name in inputs:
                statistics[name].add(batch[name])
        for name, values in run(session, inner, batch, sample=samples).items():
            statistics[name].add(values)
            _check_finite(name, statistics[name], samples)
        samples += next((array.shape[0] for array in batch.values() if array.ndim), 1)
        count += 1
    return samples, count


def _check_finite(name: str, statistics: TensorStatistics, sample: int) -> None:
    if statistics.count and not np.isfinite([statistics.minimum, statistics.maximum]).all():
        raise DataError(
            f"calibration sample {sample}: the model's tensor '{name}' becomes NaN or infinite; "
            "check the sample's preprocessing, or the model in floating point"
        )


def _turns(
    model: onnx.ModelProto, batches: Batches, tensors: Sequence[str], signature: Signature, config: ObserveConfig
) -> list[list[str]]:
    """Group the tensors so that one batch of each group fits the memory limit; measured on the first batch, largest first."""
    if config.memory_limit_bytes is None or not tensors:
        return [list(tensors)]
    first = next(checked(batches, signature))
    shapes = tensor_shapes(model, first, list(tensors))
    sizes = {name: 4 * prod(shapes[name]) for name in tensors}
    turns: list[list[str]] = []
    room: list[int] = []
    for name in sorted(tensors, key=lambda name: (-sizes[name], name)):
        place = next((index for index, left in enumerate(room) if left >= sizes[name]), None)
        if place is None:
            turns.append([])
            room.append(config.memory_limit_bytes)
            place = len(turns) - 1
        turns[place].append(name)
        room[place] -= sizes[name]
    return turns
