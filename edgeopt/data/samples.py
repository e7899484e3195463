"""Samples: named arrays without a batch axis, with labels where there are any, read one at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from edgeopt.data.batches import Array, Batch, concatenate
from edgeopt.errors import DataError

Sample = Mapping[str, Array]


@dataclass(frozen=True)
class Samples:
    """A split of a data set.

    Attributes:
        count: how many samples there are.
        read: gives sample i: arrays by model input name, without a batch axis. Ragged shapes are welcome.
        labels: int64 [count], or None.
        pad: by input name, what fills a sample that is shorter than its batch (0 where not named).
        ranges: by input name, between which values all lie, as far as that is known.
        digest: SHA-256 of what the samples are made from; part of every stage's key.
    """

    count: int
    read: Callable[[int], Sample] = field(repr=False)
    labels: NDArray[np.int64] | None = field(repr=False)
    digest: str
    pad: Mapping[str, float] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)

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
        digest = hashlib.sha256(f"{self.digest}{kept}".encode()).hexdigest()
        return replace(self, count=len(kept), read=lambda index: self.read(kept[index]), labels=labels, digest=digest)

    def first(self, count: int) -> Samples:
        """Return the first `count` samples, or all if there are fewer."""
        return self if count >= self.count else self.take(range(count))

    def batches(self, size: int = 1) -> SampleBatches:
        """Return the samples in order, `size` to a batch; the last batch may be smaller."""
        return SampleBatches(self, [list(range(start, min(start + size, self.count))) for start in range(0, self.count, size)])

    def sorted_batches(self, size: int) -> SampleBatches:
        """Return the samples ordered by length (stable), `size` to a batch, so that ragged ones need little padding."""
        order = sorted(range(self.count), key=lambda index: max(array.size for array in self.read(index).values()))
        return SampleBatches(self, [order[start : start + size] for start in range(0, self.count, size)])

    def equal_batches(self, size: int) -> SampleBatches:
        """Return the samples ordered by their shapes, at most `size` of equal shapes to a batch: nothing is padded."""
        groups: dict[tuple[tuple[str, tuple[int, ...]], ...], list[int]] = {}
        for index in range(self.count):
            sample = self.read(index)
            groups.setdefault(tuple((name, sample[name].shape) for name in sorted(sample)), []).append(index)
        members = [groups[shapes] for shapes in sorted(groups)]
        return SampleBatches(self, [own[start : start + size] for own in members for start in range(0, len(own), size)])

    def collate(self, indices: Sequence[int]) -> Batch:
        """Return one batch of the samples at `indices`, padded at the end where they are ragged."""
        samples = [self.read(int(index)) for index in indices]
        return {name: concatenate([sample[name] for sample in samples], pad=self.pad.get(name, 0)) for name in samples[0]}


@dataclass(frozen=True)
class SampleBatches:
    """Batches of samples; can be gone through again and again."""

    samples: Samples
    order: list[list[int]] = field(repr=False)

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self.order)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches."""
        for indices in self.order:
            yield self.samples.collate(indices)


def from_arrays(arrays: Mapping[str, Array], labels: NDArray[np.int64] | None = None) -> Samples:
    """Return samples out of whole arrays, whose first axis counts the samples.

    Raises:
        DataError: there is no array, or the arrays (and labels) differ in their number of samples.
    """
    counts = {name: len(array) for name, array in arrays.items()}
    if labels is not None:
        counts["labels"] = len(labels)
    if len(set(counts.values())) != 1:
        raise DataError(f"arrays differ in their number of samples (first axis): {counts or 'there are none'}")
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.tobytes())
    if labels is not None:
        digest.update(labels.astype("<i8").tobytes())
    count = next(iter(counts.values()))
    return Samples(count, lambda index: {name: array[index] for name, array in arrays.items()}, labels, digest.hexdigest())


def sample_digest(sample: Sample) -> str:
    """Return the SHA-256 of one sample: names, types, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(sample):
        array = np.ascontiguousarray(sample[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
