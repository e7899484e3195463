"""Calibration samples, checked as they stream by: the right inputs, types and shapes, and finite numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from edgeopt.data.batches import Array, Batch
from edgeopt.errors import DataError, nearest
from edgeopt.graph.onnx_file import Signature, TensorSpec

_MASK = "attention_mask"


def checked(batches: Iterable[Batch], signature: Signature, *, first: int = 0) -> Iterator[Batch]:
    """Yield the batches a model with this signature can take, one sample at a time if its batch axis is fixed at 1.

    Padding does not get through: where an `attention_mask` hides tokens, the sentences come one by one and cut to length.

    Args:
        batches: as the user gave them.
        signature: of the model.
        first: the number of the first sample, in errors.

    Raises:
        DataError: there is no sample, or one has a wrong name, dtype or shape, or a number that is not finite; the message
            names the sample (counted from 0 over all batches) and the input.
    """
    seen = first
    for batch in batches:
        yield from pieces(batch, signature, seen)
        seen += _batch_size(batch, signature)
    if seen == first:
        raise DataError("the calibration set is empty; give at least one sample")


def pieces(batch: Batch, signature: Signature, first: int) -> Iterator[Batch]:
    """Yield one batch as the model can take it: whole, in parts, or not at all if it is empty; see `checked`."""
    _check_names(batch, signature, first)
    for spec in signature.inputs:
        _check_array(batch[spec.name], spec, first)
    size = _batch_size(batch, signature)
    if _is_padded(batch, signature):
        yield from _unpadded(batch, size, first)
    elif size > 1 and _takes_one(signature):
        yield from _rows(batch, size)
    elif size > 0:
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


def _check_array(array: Array, spec: TensorSpec, first: int) -> None:
    where = f"calibration sample {first}, input '{spec.name}'"
    if array.dtype.name != spec.dtype:
        raise DataError(f"{where}: dtype is {array.dtype.name}, the model takes {spec.dtype}; convert the samples")
    if not _fits(array, spec):
        raise DataError(
            f"{where}: shape is {list(array.shape)}, the model takes [{', '.join(map(str, spec.shape))}]; "
            "prepare the samples as the model was trained (the first axis is the batch)"
        )
    if not np.issubdtype(array.dtype, np.floating):
        return
    finite = np.isfinite(array)
    if not finite.all():
        place = np.argwhere(~finite)[0]
        sample = first + int(place[0]) if place.size else first
        raise DataError(
            f"calibration sample {sample}, input '{spec.name}': holds {array[tuple(place)]} at index {place[1:].tolist()}; "
            "remove or repair the sample"
        )


def _fits(array: Array, spec: TensorSpec) -> bool:
    """Tell whether shapes agree; a batch axis fixed at 1 takes any number of samples, since they are fed one by one."""
    if array.ndim != len(spec.shape):
        return False
    pairs = zip(array.shape, spec.shape, strict=True)
    return all(isinstance(want, str) or got == want or (axis == 0 and want == 1) for axis, (got, want) in enumerate(pairs))


def _batch_size(batch: Batch, signature: Signature) -> int:
    sizes = {batch[spec.name].shape[0] for spec in signature.inputs if spec.shape}
    return max(sizes, default=1)


def _is_padded(batch: Batch, signature: Signature) -> bool:
    """Tell whether the attention mask hides tokens, and the model takes sentences of any length."""
    mask = batch.get(_MASK)
    if mask is None or mask.ndim != 2 or mask.all():
        return False
    return all(isinstance(spec.shape[1], str) for spec in signature.inputs if batch[spec.name].shape == mask.shape)


def _unpadded(batch: Batch, size: int, first: int) -> Iterator[Batch]:
    """Yield the samples one by one without their padding, left or right, so that it does not count in the statistics."""
    shape = batch[_MASK].shape
    for number, row in enumerate(_rows(batch, size), first):
        shown = np.flatnonzero(row[_MASK][0])
        if not shown.size:
            raise DataError(f"calibration sample {number}, input '{_MASK}': hides every token; remove the sample")
        tokens = slice(shown[0], shown[-1] + 1)
        yield {name: array[:, tokens] if array.shape[1:] == shape[1:] else array for name, array in row.items()}


def _takes_one(signature: Signature) -> bool:
    return any(spec.shape and spec.shape[0] == 1 for spec in signature.inputs)


def _rows(batch: Batch, size: int) -> Iterator[Batch]:
    for row in range(size):
        yield {name: array[row : row + 1] if array.ndim and array.shape[0] == size else array for name, array in batch.items()}
