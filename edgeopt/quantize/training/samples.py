"""Calibration samples as training batches: stacked where their shapes and the model allow it, a share held aside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgeopt.batches import Array, Batch
from edgeopt.graph.batch_axes import Axes, batch_axes, rows
from edgeopt.graph.signature import Signature

_HELD_SHARE = 0.1
_HELD_MOST = 64


@dataclass(frozen=True)
class Split:
    """Samples to train on, and others that are only looked at."""

    training: tuple[Batch, ...]
    held: tuple[Batch, ...]


def split(samples: Sequence[Batch], *, seed: int) -> Split:
    """Hold a tenth of the samples aside, 64 at most and 1 at least, drawn by `seed`; a single sample is both."""
    if len(samples) < 2:
        return Split(tuple(samples), tuple(samples))
    order = np.random.default_rng(seed).permutation(len(samples))
    count = min(max(round(_HELD_SHARE * len(samples)), 1), _HELD_MOST)
    return Split(tuple(samples[place] for place in order[count:]), tuple(samples[place] for place in order[:count]))


def stackable(signature: Signature) -> Axes | None:
    """Return the axis of each input along which samples can be stacked; None where the model takes one sample at a time."""
    axes = batch_axes(signature)
    for spec in signature.inputs:
        axis = axes[spec.name]
        if axis is None or not spec.ranked or not isinstance(spec.shape[axis], str):
            return None
    return axes


def stack(samples: Sequence[Batch], axes: Mapping[str, int | None]) -> Batch:
    """Return samples of the same shapes as one batch."""
    first = samples[0]
    return {name: np.concatenate([sample[name] for sample in samples], axis=axes[name] or 0) for name in first}


def epochs(samples: Sequence[Batch], axes: Axes | None, size: int, *, seed: int) -> Iterator[tuple[Batch, int]]:
    """Yield batches of at most `size` samples for ever, in a new random order each time, with their numbers of samples.

    Args:
        samples: what to train on.
        axes: where to stack them; None: they come one by one.
        size: of a batch.
        seed: of the order.
    """
    epoch = 0
    while True:
        generator = np.random.default_rng([seed, epoch])
        order = generator.permutation(len(samples))
        if axes is None:
            yield from ((samples[place], 1) for place in order)
        else:
            groups: dict[tuple[object, ...], list[Batch]] = {}
            for place in order:
                groups.setdefault(_shapes(samples[place], axes), []).append(samples[place])
            parts = [group[start : start + size] for group in groups.values() for start in range(0, len(group), size)]
            for number in generator.permutation(len(parts)):
                yield stack(parts[number], axes), sum(rows(sample, axes) for sample in parts[number])
        epoch += 1


def _shapes(sample: Batch, axes: Axes) -> tuple[object, ...]:
    return tuple((name, _without(array, axes[name])) for name, array in sample.items())


def _without(array: Array, axis: int | None) -> tuple[int, ...]:
    return tuple(size for place, size in enumerate(array.shape) if place != axis)
