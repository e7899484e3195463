"""Run samples through anything that takes batches, in batches of about equal length, and put the outputs back in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeopt import progress
from edgeopt.batches import Array, Batch
from edgeopt.data.samples import Layout, SampleBatches, Samples

Outputs = dict[str, Array]
"""By output name: [samples, …]; where the axes after the first differ between samples, [positions of all samples, classes]."""

Run = Callable[[Batch], Outputs]


def collect(run: Run, samples: Samples, *, batch_size: int, name: str) -> Outputs:
    """Return the outputs of `run` for each sample, by name; `name` is what progress calls it."""
    batches = samples.sorted_batches(batch_size)
    if batch_size > 1 and _follows_length(run, samples, batches.order):
        batches = samples.equal_batches(batch_size)  # else padding would be among the answers
    parts = _run(run, batches, name=name)
    order = np.concatenate([np.asarray(indices) for indices in batches.order])
    ragged = _ragged(parts)
    return {
        output: _positions([part[output] for part in parts], batches.order)
        if output in ragged
        else _in_order(np.concatenate([np.atleast_1d(part[output]) for part in parts]), order)
        for output in parts[0]
    }


@dataclass(frozen=True)
class Runnable:
    """A model that takes batches of its own samples.

    Attributes:
        name: what messages and progress call it.
        run: gives the outputs of a batch.
        samples: in the form that the model takes.
        batch_size: the most samples that it takes at a time.
    """

    name: str
    run: Run
    samples: Samples
    batch_size: int


def reading_order(models: Sequence[Runnable]) -> tuple[list[int], bool]:
    """Return the order in which samples are run, by about equal length, and whether batches may be padded.

    They may not where an output of one of the models has other axes for a longer sample: padding would be answered, too.
    """
    samples = models[0].samples
    ends = samples.sorted_batches(1).order
    padded = not any(_follows_length(model.run, model.samples, ends) for model in models)
    batches = samples.sorted_batches(1) if padded else samples.equal_batches(1)
    return [index for indices in batches.order for index in indices], padded


def one_by_one(model: Runnable, order: Sequence[int], *, padded: bool) -> Iterator[Outputs]:
    """Yield the outputs of each sample in `order`, without a batch axis; `padded`: other lengths may share a batch."""
    layout = model.samples.layout
    for indices in _batched(model, order, padded):
        outputs = model.run(model.samples.collate(indices))
        filled = len(indices) if layout is None or layout.size is None else layout.size
        for place in range(len(indices)):
            yield {name: _row(values, place, filled) for name, values in outputs.items()}


def _batched(model: Runnable, order: Sequence[int], padded: bool) -> Iterator[list[int]]:
    waiting: list[int] = []
    shapes: dict[str, tuple[int, ...]] = {}
    for index in order:
        own = {} if padded else {name: array.shape for name, array in model.samples[index].items()}
        if waiting and (len(waiting) == model.batch_size or own != shapes):
            yield waiting
            waiting = []
        waiting, shapes = [*waiting, index], own
    if waiting:
        yield waiting


def _row(values: Array, place: int, filled: int) -> Array:
    """Return the part of one sample; an output whose first axis counts no samples belongs to all of them."""
    return np.asarray(values[place]) if values.ndim and len(values) == filled else values


def _follows_length(run: Run, samples: Samples, order: Sequence[Sequence[int]]) -> bool:
    """Return whether an output of the longest sample has other axes than that of the shortest one, each run alone."""
    ends = [samples.collate([index]) for index in (order[0][0], order[-1][-1])]
    if all(ends[0][name].shape == ends[1][name].shape for name in ends[0]):
        return False
    return bool(_ragged([run(batch) for batch in ends]))


def _run(run: Run, batches: SampleBatches, *, name: str) -> list[Outputs]:
    parts: list[Outputs] = []
    with progress.task(f"evaluate {name}", total=len(batches.samples)) as advance:
        for indices, batch in zip(batches.order, batches, strict=True):
            parts.append(_own(run(batch), len(indices), batches.samples.layout))
            advance(len(indices))
    return parts


def _own(outputs: Outputs, count: int, layout: Layout | None) -> Outputs:
    """Return the outputs of the batch's first `count` samples: the last batch may have been filled to a fixed size."""
    if layout is None or layout.size is None or layout.size <= count:
        return outputs
    return {name: values[:count] if values.ndim and len(values) == layout.size else values for name, values in outputs.items()}


def _ragged(parts: Sequence[Outputs]) -> set[str]:
    """Return the outputs whose axes after the first differ from batch to batch."""
    return {name for name in parts[0] if len({part[name].shape[1:] for part in parts}) > 1}


def _in_order(values: Array, order: NDArray[np.int64]) -> Array:
    return values[np.argsort(order)] if len(values) == len(order) else values


def _positions(parts: Sequence[Array], order: Sequence[Sequence[int]]) -> Array:
    """Put all positions of a ragged output under each other, sample by sample.

    Args:
        parts: one array a batch, [samples, …, classes], of differing middle axes, such as a token classifier's logits.
        order: the samples of each batch.

    Returns:
        [positions of all samples, classes]; one flat axis where the last axis differs, too.
    """
    width = parts[0].shape[-1] if parts[0].ndim > 2 and len({part.shape[-1] for part in parts}) == 1 else None
    rows: dict[int, Array] = {}
    for indices, part in zip(order, parts, strict=True):
        whole = len(part) == len(indices)  # else the first axis counts no samples: the batch stays one piece
        for index, values in zip(indices, part if whole else [part], strict=False):
            rows[index] = values.reshape(-1, width) if width else values.reshape(-1)
    return np.concatenate([rows[index] for index in sorted(rows)])
