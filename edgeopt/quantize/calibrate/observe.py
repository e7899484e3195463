"""Observe a model's tensors over calibration batches: through a cache, in several processes, or plainly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from edgeopt.batches import Batch, Batches
from edgeopt.graph.signature import Signature
from edgeopt.quantize.calibrate.cache import through_cache
from edgeopt.quantize.calibrate.calibrator import Observations, ObserveConfig, Task, advance_all, plan_turns, start, whole
from edgeopt.quantize.calibrate.samples import picked, pieces
from edgeopt.quantize.calibrate.shards import observe_shards


def observe(
    model: ir.Model,
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
        DataError: the batches do not fit the model, a tensor became NaN or infinite on one of them, or the cache is of
            something else.
    """
    task = Task(model, tensors, signature, channels, config, held_aside(len(batches), config.aside))
    if config.cache is None and config.jobs == 1:
        kept = _Kept(batches, task.aside)
        seen = observe_task(task, kept)
        return replace(seen, held=tuple(_parts((kept.found[number] for number in sorted(task.aside)), signature)))
    seen = through_cache(task, batches, config.cache) if config.cache is not None else observe_task(task, batches)
    return replace(seen, held=tuple(_parts(picked(batches, sorted(task.aside)), signature)))


class _Kept:
    """Batches of which some, by their numbers, are kept as they are read, so that they need not be read again."""

    def __init__(self, batches: Batches, numbers: Set[int]) -> None:
        self._batches, self._numbers = batches, numbers
        self.found: dict[int, Batch] = {}

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        for number, batch in enumerate(self._batches):
            if number in self._numbers:
                self.found[number] = batch
            yield batch


def held_aside(batches: int, count: int) -> frozenset[int]:
    """Return the numbers of `count` of the batches, the same each time."""
    chosen = np.random.default_rng(0).choice(batches, size=min(count, batches), replace=False)
    return frozenset(int(number) for number in chosen)


def _parts(batches: Iterable[Batch], signature: Signature) -> Iterator[Batch]:
    """Yield batches that were checked in the parts that the model takes."""
    for batch in batches:
        yield from pieces(batch, signature, 0, check=False)


def observe_task(task: Task, batches: Batches) -> Observations:
    """Observe in this process, or in as many as the configuration says; see `observe`."""
    if task.config.jobs > 1 and len(batches) > 1:
        return observe_shards(task, batches)
    return whole(task, advance_all(task, batches, start(task, plan_turns(task, batches))))
