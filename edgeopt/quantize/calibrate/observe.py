"""Observe a model's tensors over calibration batches: through a cache, in several processes, or plainly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from edgeopt.batches import Batches
from edgeopt.graph.signature import Signature
from edgeopt.quantize.calibrate.cache import through_cache
from edgeopt.quantize.calibrate.calibrator import Observations, ObserveConfig, Task, advance_all, plan_turns, start, whole
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
    alone = config.cache is None and config.jobs == 1
    task = Task(model, tensors, signature, channels, config, held_aside(len(batches), config.aside) if alone else frozenset())
    if config.cache is not None:
        return through_cache(task, batches, config.cache)
    return observe_task(task, batches)


def held_aside(batches: int, count: int) -> frozenset[int]:
    """Return the numbers of `count` of the batches, the same each time."""
    chosen = np.random.default_rng(0).choice(batches, size=min(count, batches), replace=False)
    return frozenset(int(number) for number in chosen)


def observe_task(task: Task, batches: Batches) -> Observations:
    """Observe in this process, or in as many as the configuration says; see `observe`."""
    if task.config.jobs > 1 and len(batches) > 1:
        return observe_shards(task, batches)
    return whole(task, advance_all(task, batches, start(task, plan_turns(task, batches))))
