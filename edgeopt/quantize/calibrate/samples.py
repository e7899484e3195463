"""Calibration samples, checked as they stream by: the right inputs, types and shapes, and finite numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np

from edgeopt.batches import Array, Batch, Batches
from edgeopt.data.checks import is_additive_mask
from edgeopt.errors import DataError, nearest
from edgeopt.graph.batch_axes import Axes, batch_axes, rows, without
from edgeopt.graph.signature import Signature, TensorSpec, fits

_MASK = "attention_mask"


def checked(batches: Iterable[Batch], signature: Signature, *, first: int = 0) -> Iterator[Batch]:
    """Yield the batches a model with this signature can take; one that is too large for a fixed batch axis comes in parts.

    Padding does not get through: where an `attention_mask` hides tokens, the sentences come one by one and cut to length.

    Args:
        batches: as the user gave them.
        signature: of the model.
        first: the number of the first sample, in errors.

    Raises:
        DataError: there is no sample, or one has a wrong name, dtype or shape, or a number that is not finite; the message
            names the sample (counted from 0 over all batches) and the input.
    """
    seen, axes = first, batch_axes(signature)
    for batch in batches:
        yield from pieces(batch, signature, seen)
        seen += rows(batch, axes)
    if seen == first:
        raise DataError("the calibration set is empty; give at least one sample")


class CheckedSamples:
    """Calibration data in the parts that a model takes: each batch is checked the first time that it is read.

    Attributes:
        batches: as the user gave them.
        signature: of the model.
    """

    def __init__(self, batches: Batches, signature: Signature) -> None:
        self.batches, self.signature = batches, signature
        self._known = 0
        self._first: list[Batch] = []

    def __iter__(self) -> Iterator[Batch]:
        """Yield all parts; see `checked` for what is refused."""
        seen, axes = 0, batch_axes(self.signature)
        for number, batch in enumerate(self.batches):
            yield from pieces(batch, self.signature, seen, check=number >= self._known)
            self._known = max(self._known, number + 1)
            seen += rows(batch, axes)
        if not seen:
            raise DataError("the calibration set is empty; give at least one sample")

    def take(self, count: int) -> list[Batch]:
        """Return the first `count` parts, or all if there are fewer; what was taken before is not read again."""
        if len(self._first) < count:
            self._first = list(islice(self, count))
        return self._first[:count]

    def passed(self) -> None:
        """Note that all batches have been read and checked elsewhere."""
        self._known = len(self.batches)


def samples_of(calibration: Batches | CheckedSamples, signature: Signature) -> CheckedSamples:
    """Return calibration data as checked samples; those that are keep what they know."""
    return calibration if isinstance(calibration, CheckedSamples) else CheckedSamples(calibration, signature)


def picked(batches: Batches, numbers: Sequence[int]) -> Iterator[Batch]:
    """Yield the batches of these ascending numbers; others are skipped, which costs time only if nothing can be picked."""
    order = getattr(batches, "order", None)
    if isinstance(order, list):
        yield from replace(batches, order=[order[number] for number in numbers])  # type: ignore[type-var]
    elif isinstance(batches, list | tuple):
        yield from (batches[number] for number in numbers)
    elif wanted := set(numbers):
        yield from (batch for number, batch in enumerate(islice(batches, max(wanted) + 1)) if number in wanted)


def pieces(batch: Batch, signature: Signature, first: int, *, check: bool = True) -> Iterator[Batch]:
    """Yield one batch as the model can take it: whole, in parts, or not at all if it is empty; see `checked`.

    Only inputs whose batch axis is too long for the model are cut, along that axis; all others are in each part as they are.
    """
    if check:
        _check_names(batch, signature, first)
    axes = batch_axes(signature)
    parts = {spec.name: _parts(batch[spec.name], spec, axes[spec.name]) for spec in signature.inputs}
    for spec in signature.inputs if check else ():
        _check_array(batch[spec.name], spec, (first, axes[spec.name]), taken=parts[spec.name] is not None)
    counts = {name: count for name, count in parts.items() if count is not None and count != 1}
    if len(set(counts.values())) > 1:
        raise DataError(f"calibration sample {first}: the inputs differ in their number of samples: {counts}")
    if not rows(batch, axes):
        return
    if _is_padded(batch, signature) and axes[_MASK] == 0:
        yield from _unpadded(batch, signature, axes, first)
    elif counts:
        yield from _cut(batch, {name: axes[name] for name in counts}, next(iter(counts.values())))
    else:
        yield batch


def _check_names(batch: Batch, signature: Signature, sample: int) -> None:
    wanted = [spec.name for spec in signature.inputs]
    for name in batch:
        if name not in wanted:
            raise DataError(
                f"calibration sample {sample}: the model has no input '{name}'{nearest(name, wanted)}; "
                f"its inputs are: {', '.join(wanted)}"
            )
    for name in wanted:
        if name not in batch:
            raise DataError(f"calibration sample {sample}: input '{name}' is missing; the samples have: {', '.join(batch)}")


def _check_array(array: Array, spec: TensorSpec, counted: tuple[int, int | None], *, taken: bool) -> None:
    """Raise a `DataError` if an array does not fit; `counted`: the number of its first sample, and the axis of samples."""
    first, axis = counted
    where = f"calibration sample {first}, input '{spec.name}'"
    if array.dtype.name != spec.dtype:
        raise DataError(f"{where}: dtype is {array.dtype.name}, the model takes {spec.dtype}; convert the samples")
    if not taken:
        raise DataError(
            f"{where}: shape is {list(array.shape)}, the model takes {spec}; prepare the samples as the model was trained"
        )
    if not np.issubdtype(array.dtype, np.floating):
        return
    if is_additive_mask(array):
        return
    finite = np.isfinite(array)
    if not finite.all():
        place = [int(index) for index in np.argwhere(~finite)[0]]
        value, sample = array[tuple(place)], first if axis is None else first + place.pop(axis)
        raise DataError(
            f"calibration sample {sample}, input '{spec.name}': holds {value} at index {place}; remove or repair the sample"
        )


def _parts(array: Array, spec: TensorSpec, axis: int | None) -> int | None:
    """Return how many parts the array makes, each as the model takes it: 1 if it fits; None if its shape is wrong."""
    if spec.fits(array.shape):
        return 1
    if axis is None or array.ndim != len(spec.shape):
        return None
    size = spec.shape[axis]
    inner = array.shape[:axis] + array.shape[axis + 1 :]
    if not isinstance(size, int) or not size or array.shape[axis] % size or not fits(inner, without(spec, axis)):
        return None
    return int(array.shape[axis]) // size


def _is_padded(batch: Batch, signature: Signature) -> bool:
    """Return whether the attention mask hides tokens, and the model takes sentences of any length."""
    mask = batch.get(_MASK)
    if mask is None or mask.ndim != 2 or mask.all():
        return False
    alike = [spec for spec in signature.inputs if spec.ranked and batch[spec.name].shape == mask.shape]
    return all(isinstance(spec.shape[1], str) for spec in alike)


def _unpadded(batch: Batch, signature: Signature, axes: Axes, first: int) -> Iterator[Batch]:
    """Yield the samples one by one without their padding, left or right, so that it does not count in the statistics."""
    shape = batch[_MASK].shape
    tokens = _token_axes(batch, signature)
    counted = {name: axis for name, axis in axes.items() if axis is not None and batch[name].shape[axis] == shape[0]}
    for number, row in enumerate(_cut(batch, counted, shape[0]), first):
        shown = np.flatnonzero(row[_MASK][0])
        if not shown.size:
            raise DataError(f"calibration sample {number}, input '{_MASK}': hides every token; remove the sample")
        kept = slice(shown[0], shown[-1] + 1)
        yield {
            name: array[tuple(kept if axis in tokens[name] else slice(None) for axis in range(array.ndim))]
            for name, array in row.items()
        }


def _token_axes(batch: Batch, signature: Signature) -> dict[str, set[int]]:
    """Return the axes of each input that count tokens: called as the mask's, or the second one of an array of its shape."""
    shape = batch[_MASK].shape
    called = next(spec.shape[1] for spec in signature.inputs if spec.name == _MASK)
    found: dict[str, set[int]] = {}
    for spec in signature.inputs:
        array = batch[spec.name]
        places = {place for place, size in enumerate(spec.shape) if size == called != "?" and array.shape[place] == shape[1]}
        found[spec.name] = places | ({1} if array.shape == shape else set())
    return found


def _cut(batch: Batch, axes: Axes, count: int) -> Iterator[Batch]:
    """Yield `count` parts of the batch: of the inputs in `axes` a part along that axis, the others whole."""
    for part in range(count):
        cut = dict(batch)
        for name, axis in axes.items():
            if axis is not None:
                size = batch[name].shape[axis] // count
                cut[name] = batch[name][(slice(None),) * axis + (slice(part * size, (part + 1) * size),)]
        yield cut
