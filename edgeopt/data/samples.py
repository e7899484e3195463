"""Samples: named arrays without a batch axis, with labels where there are any, read one at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeopt.batches import Array, Batch, concatenate
from edgeopt.data.npz import StoredArray
from edgeopt.errors import DataError

Sample = Mapping[str, Array]


@dataclass(frozen=True)
class Layout:
    """How samples become a batch of a model; see `edgeopt.data.fit`.

    Attributes:
        axes: by input, the axis along which samples are stacked; None: a sample is the model's whole input.
        size: number of samples in every batch; None: any number.
    """

    axes: Mapping[str, int | None]
    size: int | None


@dataclass(frozen=True)
class Samples:
    """A split of a data set.

    Attributes:
        count: number of samples.
        read: returns sample i: arrays by model input name, without a batch axis. Shapes may be ragged.
        labels: int64 [count], or None.
        pad: padding value by input name (0 where not named).
        ranges: interval of all values by input name, where known.
        digest: SHA-256 of the source data; part of every stage's key.
        shared: inputs whose value is the same for all samples, stored once.
        layout: how they become a batch of their model; None: stacked along a new first axis.
        annotations: labels that are not one class: of each sample tags, a span, boxes, a text, a number; see `edgeopt.tasks`.
        contexts: what is known of each sample beside inputs and labels, such as where an image lies in the input.
        names: names of the classes (of the tags, the tokens), by number; empty: not known.
        lead: this many tokens at the beginning of each text are virtual: no text, and not predicted.
        group: this many consecutive samples belong together, such as the two texts of a pair, and are picked together.
    """

    count: int
    read: Callable[[int], Sample] = field(repr=False)
    labels: NDArray[np.int64] | None = field(repr=False)
    digest: str
    pad: Mapping[str, float] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    shared: frozenset[str] = frozenset()
    layout: Layout | None = None
    annotations: Sequence[Any] | None = field(default=None, repr=False)
    contexts: Sequence[Any] | None = field(default=None, repr=False)
    names: tuple[str, ...] = ()
    group: int = 1
    lead: int = 0

    def __len__(self) -> int:
        """Return the number of samples."""
        return self.count

    def __getitem__(self, index: int) -> Sample:
        """Return sample `index`."""
        if not 0 <= index < self.count:
            raise IndexError(index)
        return self.read(index)

    def take(self, indices: Sequence[int]) -> Samples:
        """Return the samples at `indices`, in that order."""
        kept = [int(index) for index in indices]
        labels = None if self.labels is None else self.labels[kept]
        annotations, contexts = (
            None if values is None else [values[index] for index in kept] for values in (self.annotations, self.contexts)
        )
        digest = hashlib.sha256(f"{self.digest}{kept}".encode()).hexdigest()
        return replace(
            self,
            count=len(kept),
            read=lambda index: self.read(kept[index]),
            labels=labels,
            annotations=annotations,
            contexts=contexts,
            digest=digest,
        )

    def first(self, count: int) -> Samples:
        """Return the first `count` samples, or all if there are fewer."""
        return self if count >= self.count else self.take(range(count))

    def batches(self, size: int = 1) -> SampleBatches:
        """Return the samples in order in batches of `size` unless the layout fixes it; the last batch may be smaller."""
        size = self._batch_size(size)
        return SampleBatches(self, [list(range(start, min(start + size, self.count))) for start in range(0, self.count, size)])

    def sorted_batches(self, size: int) -> SampleBatches:
        """Return the samples ordered by length (stable) in batches of `size`, so that ragged ones need little padding."""
        size = self._batch_size(size)
        order = sorted(range(self.count), key=lambda index: max(array.size for array in self.read(index).values()))
        return SampleBatches(self, [order[start : start + size] for start in range(0, self.count, size)])

    def equal_batches(self, size: int) -> SampleBatches:
        """Return the samples ordered by shape, in batches of at most `size` of equal shape, without padding."""
        size = self._batch_size(size)
        groups: dict[tuple[tuple[str, tuple[int, ...]], ...], list[int]] = {}
        for index in range(self.count):
            sample = self.read(index)
            groups.setdefault(tuple((name, sample[name].shape) for name in sorted(sample)), []).append(index)
        members = [groups[shapes] for shapes in sorted(groups)]
        return SampleBatches(self, [own[start : start + size] for own in members for start in range(0, len(own), size)])

    def collate(self, indices: Sequence[int]) -> Batch:
        """Return one batch of the samples at `indices`, padded at the end where they are ragged.

        Where the layout fixes the size of a batch, fewer samples are repeated until they fill it.
        """
        chosen = [int(index) for index in indices]
        axes: Mapping[str, int | None] = {}
        if self.layout is not None:
            axes, size = self.layout.axes, self.layout.size or len(chosen)
            chosen = [chosen[place % len(chosen)] for place in range(size)]
        samples = [self.read(index) for index in chosen]
        return {name: self._stacked([sample[name] for sample in samples], name, axes.get(name, 0)) for name in samples[0]}

    def _stacked(self, parts: list[Array], name: str, axis: int | None) -> Array:
        if axis is None:
            return parts[0]
        stacked = concatenate(parts, pad=self.pad.get(name, 0))
        return np.ascontiguousarray(np.moveaxis(stacked, 0, axis)) if axis else stacked

    def _batch_size(self, asked: int) -> int:
        return asked if self.layout is None or self.layout.size is None else self.layout.size


@dataclass(frozen=True)
class SampleBatches:
    """Batches of samples; can be iterated repeatedly."""

    samples: Samples
    order: list[list[int]] = field(repr=False)

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self.order)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches."""
        for indices in self.order:
            yield self.samples.collate(indices)


def from_arrays(
    arrays: Mapping[str, Array | StoredArray],
    labels: NDArray[np.int64] | None = None,
    *,
    shared: frozenset[str] = frozenset(),
    digest: str | None = None,
) -> Samples:
    """Return samples out of arrays, whose first axis counts the samples; those called in `shared` are of all samples.

    `digest` spares hashing all values, where that was done before.

    Raises:
        DataError: there is no array, or the arrays (and labels) differ in their number of samples.
    """
    counts = {name: len(array) if array.ndim else 0 for name, array in arrays.items() if name not in shared}
    if labels is not None:
        counts["labels"] = len(labels)
    if len(set(counts.values())) > 1 or not arrays:
        raise DataError(f"arrays differ in their number of samples (first axis): {counts or 'there are none'}")
    count = next(iter(counts.values()), 1)
    for_all = {name: _whole(arrays[name]) for name in shared}

    def read(index: int) -> Sample:
        return {name: for_all[name] if name in shared else np.asarray(array[index]) for name, array in arrays.items()}

    return Samples(count, read, labels, _digest(arrays, labels, shared) if digest is None else digest, shared=shared)


def _whole(array: Array | StoredArray) -> Array:
    return array.whole() if isinstance(array, StoredArray) else array


def _digest(arrays: Mapping[str, Array | StoredArray], labels: NDArray[np.int64] | None, shared: frozenset[str]) -> str:
    """Return the SHA-256 of names, types, shapes and values; arrays in files are read piece by piece."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        for chunk in array.chunks() if isinstance(array, StoredArray) else [np.ascontiguousarray(array).tobytes()]:
            digest.update(chunk)
    if labels is not None:
        digest.update(labels.astype("<i8").tobytes())
    digest.update("".join(sorted(shared)).encode())
    return digest.hexdigest()


def sample_digest(sample: Sample) -> str:
    """Return the SHA-256 of one sample: names, types, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(sample):
        array = np.ascontiguousarray(sample[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
