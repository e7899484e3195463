"""Parts of a model's outputs: channels of another size than the others are compared by themselves.

A detector often gives boxes in pixels (0 to 640) and scores (0 to 1) as one output. Its squares are those of the boxes, so that
its SQNR stays at 15 dB where every score has become 0. The channels along an axis are therefore sorted by their largest values;
where two that follow one another differ by more than `_APART`, a part ends. Parts that are nothing beside the largest one are
not looked at (a class that no sample shows), nor are outputs without a value above 1 (probabilities: small ones matter little).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeopt.batches import Array
from edgeopt.quantize.infinite_values import LARGEST
from edgeopt.quantize.sqnr import CEILING_DB, Noise, sqnr_db

_APART = 30.0
_NOTHING = 2.0**-11
Noises = NDArray[np.float64]
"""Noise / signal of each part of a model's outputs, [parts], or what each batch adds to it, [batches, parts]."""
_ALL = 10 ** (CEILING_DB / 10)
"""The share of noise where nothing of the signal is left."""
_MOST_CHANNELS = 1024
"""Axes that are longer are places, not channels."""


@dataclass(frozen=True)
class Part:
    """An output, or some of its channels."""

    output: str
    axis: int = 0
    channels: tuple[int, ...] = ()
    """Along `axis`; none: the output is one part."""

    def of(self, values: Array) -> Array:
        """Return the values of this part."""
        return values.take(self.channels, axis=self.axis) if self.channels else values

    @property
    def name(self) -> str:
        """The output's name, where it has several parts with the channels: "y[:, 4:85]", or the first and their number."""
        if not self.channels:
            return self.output
        first, last = self.channels[0], self.channels[-1]
        neighbours = len(self.channels) == last - first + 1
        said = f"{first}:{last + 1}" if neighbours else f"{first}…, {len(self.channels)} channels"
        return f"{self.output}[{':, ' * self.axis}{said}]"


class PartsNoise:
    """Noise of each part of a model's outputs, batch by batch."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts
        self._batches: list[list[Noise]] = []

    def add(self, exact: Mapping[str, Array], rounded: Mapping[str, Array]) -> None:
        """Take in the outputs of one batch, by name."""
        noises = [Noise() for _ in self._parts]
        for part, noise in zip(self._parts, noises, strict=True):
            noise.add(*(part.of(values) for values in _same_shape(exact[part.output], rounded[part.output])))
        self._batches.append(noises)

    @property
    def db(self) -> dict[Part, float]:
        """The SQNR of each part in dB."""
        return {part: sqnr_db(*sums) for part, sums in zip(self._parts, self._sums.sum(axis=0), strict=True)}

    @property
    def shares(self) -> Noises:
        """The noise of each batch and part as a share of the part's signal in all batches, [batches, parts]."""
        signal, noise = np.moveaxis(self._sums, 2, 0)
        return np.where(noise > 0, np.minimum(noise / np.maximum(signal.sum(axis=0), np.finfo(np.float64).tiny), _ALL), 0.0)

    @property
    def _sums(self) -> NDArray[np.float64]:
        """Signal and noise, [batches, parts, 2]."""
        sums = [[(noise.signal, noise.noise) for noise in noises] for noises in self._batches]
        return np.array(sums, dtype=np.float64).reshape(len(sums), len(self._parts), 2)


def decibels(noise: Noises) -> float:
    """Return the SQNR of the worst part of the outputs; `noise`: [parts]."""
    return float(-10 * np.log10(max(noise.max(initial=0.0), 1 / _ALL)))


def _same_shape(exact: Array, rounded: Array) -> tuple[Array, Array]:
    """Return both in one shape, as where a loop ran for another number of times: what one of them lacks is zero."""
    if exact.shape == rounded.shape or exact.ndim != rounded.ndim:
        return exact, rounded
    shape = np.maximum(exact.shape, rounded.shape)
    widths = ([(0, int(more)) for more in shape - values.shape] for values in (exact, rounded))
    first, second = (np.pad(values, width) for values, width in zip((exact, rounded), widths, strict=True))
    return first, second


def parts_of(names: Sequence[str], batches: Iterable[Mapping[str, Array]]) -> list[Part]:
    """Return the parts of the outputs called `names`, by the exact values on all batches, which may have other tensors."""
    largest: dict[str, dict[int, Array]] = {}
    for outputs in batches:
        for name in names:
            found = _largest(outputs[name])
            known = largest.setdefault(name, found)
            same = [axis for axis in known.keys() & found.keys() if known[axis].shape == found[axis].shape]
            largest[name] = {axis: np.maximum(known[axis], found[axis]) for axis in sorted(same)}
    return [part for name in names for part in _parts(name, largest.get(name, {}))]


def _largest(values: Array | list[Array]) -> dict[int, Array]:
    """Return the largest magnitude of each channel, by axis; the first axis counts samples, a sequence has none."""
    if isinstance(values, list):
        return {}
    axes = [axis for axis in range(1, values.ndim) if 1 < values.shape[axis] <= _MOST_CHANNELS]
    if not axes or not values.size or not np.issubdtype(values.dtype, np.floating):
        return {}
    sizes = np.abs(values)
    sizes = np.where(sizes < LARGEST, sizes, 0)
    return {axis: sizes.max(axis=tuple(other for other in range(values.ndim) if other != axis)) for axis in axes}


def _parts(name: str, largest: Mapping[int, Array]) -> list[Part]:
    for axis, sizes in largest.items():
        groups = _groups(sizes)
        if len(groups) > 1:
            return [Part(name, axis, tuple(sorted(map(int, group)))) for group in groups]
    return [Part(name)]


def _groups(sizes: Array) -> list[Array]:
    """Return the indices of channels of about one size, those of nothing left out."""
    order = np.argsort(sizes, kind="stable")
    order = order[sizes[order] > 0]
    if not order.size or sizes[order[-1]] <= 1:
        return []
    ends = np.flatnonzero(sizes[order[1:]] > _APART * sizes[order[:-1]]) + 1
    return [group for group in np.split(order, ends) if sizes[group[-1]] >= _NOTHING * sizes[order[-1]]]
