"""Fit samples to a model: the axis of each input along which they are stacked, and the number in a batch.

For an input of shape [batch, 3, 224, 224] a sample may be
    [3, 224, 224]         one sample: it is stacked along the batch axis, as many at a time as the model accepts
    [1, 3, 224, 224]      exactly the model's shape: it is a whole batch
An input without a batch axis, such as a scalar or an initial state [2, 1, 128], is used unchanged; an axis of size 1 may be
left out ([2, 128]). Where the model's batch axis is fixed at 4, four samples make a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgeopt import progress
from edgeopt.batches import Array
from edgeopt.data.npz import StoredArray
from edgeopt.data.samples import Layout, Sample, Samples
from edgeopt.errors import DataError
from edgeopt.graph import files
from edgeopt.graph.batch_axes import batch_axes, without
from edgeopt.graph.signature import Signature, TensorSpec, fits

_WHOLE = "; whole numbers stay whole: normalise them first if the model was trained on normalised ones"


@dataclass(frozen=True)
class _Form:
    """How samples of one input become a batch: stacked along `axis` (None: whole), with an axis of size 1 at `inserted`."""

    axis: int | None
    inserted: int | None = None


def fit(samples: Samples, signature: Signature) -> Samples:
    """Return the samples in the form that a model with this signature takes; unknown names are left to later checks.

    Raises:
        DataError: the shape of an input's samples does not fit the model's.
    """
    if samples.layout is not None or not len(samples):
        return samples
    first, axes = samples[0], batch_axes(signature)
    forms = {spec.name: _form(first[spec.name], spec, axes[spec.name]) for spec in signature.inputs if spec.name in first}
    inserted = {name: form.inserted for name, form in forms.items() if form.inserted is not None}
    size = _size(signature, forms, samples.shared, axes)
    if size is not None and len(samples) % size:
        progress.note(f"{len(samples)} samples do not fill the model's batches of {size}: the last samples are repeated")

    types = {spec.name: kind for spec in signature.inputs if spec.name in first and (kind := _cast(first[spec.name], spec))}

    def read(index: int) -> Sample:
        sample = samples.read(index)
        return {name: _formed(array, inserted.get(name), types.get(name), where=name) for name, array in sample.items()}

    layout = Layout({name: form.axis for name, form in forms.items()}, size)
    return replace(samples, layout=layout, read=read if inserted or types else samples.read)


def _formed(array: Array, axis: int | None, kind: np.dtype[Any] | None, *, where: str) -> Array:
    """Return the array with an axis of size 1 inserted and its values in another type, where they are asked for.

    Raises:
        DataError: a finite value of the input `where` is too large for the type.
    """
    array = array if axis is None else np.expand_dims(array, axis)
    if kind is None:
        return array
    with np.errstate(over="ignore"):
        made = array.astype(kind)
    if kind.kind == "f" and not np.isfinite(made[np.isfinite(array)]).all():
        raise DataError(f"input '{where}': values of type {array.dtype.name} are too large for {kind.name}; scale the samples")
    return made


def _cast(array: Array, spec: TensorSpec) -> np.dtype[Any] | None:
    """Return the type that an input's values are converted to, with a note; None: they stay as they are.

    Only conversions that keep what a value means are made: a floating-point type into another one, integers into wider ones or
    into floating point (an image's uint8 is not divided by anything).
    """
    if array.dtype.name == spec.dtype:
        return None
    try:
        wanted = np.dtype(spec.dtype)
    except TypeError:  # a type that numpy does not know
        return None
    kinds = array.dtype.kind + wanted.kind
    safe = kinds == "ff" or (kinds in {"uf", "if", "bf"} and wanted.itemsize >= 4) or np.can_cast(array.dtype, wanted, "safe")
    if not safe:
        return None
    note = f"input '{spec.name}': {array.dtype.name} is converted to {wanted.name}, which the model takes"
    progress.note(note + (_WHOLE if kinds == "uf" else ""))
    return wanted


def floats_as(samples: Samples, kind: str, *, whole: bool = True) -> Samples:
    """Return samples whose doubles (of `whole`: and bytes, as of an image) become the type `kind` of weights, with a note."""
    if not len(samples):
        return samples
    known = {"float64", *(["uint8"] if whole else [])} - {kind}
    found = {name: array.dtype.name for name, array in samples[0].items() if array.dtype.name in known}
    changed = {name: old for name, old in found.items() if not name.endswith(("mask", "ids"))}
    for name, old in changed.items():
        progress.note(f"input '{name}': {old} is converted to {kind}, which the model takes{_WHOLE if old == 'uint8' else ''}")

    def read(index: int) -> Sample:
        return {name: array.astype(kind) if name in changed else array for name, array in samples.read(index).items()}

    return replace(samples, read=read) if changed else samples


def fit_to(samples: Samples, model: Path) -> Samples:
    """Return the samples as the ONNX file `model` takes them; see `fit`."""
    return fit(samples, files.signature(files.load(model)))


def _form(array: Array, spec: TensorSpec, axis: int | None) -> _Form:
    if not spec.ranked:
        return _Form(0)
    if axis is not None and fits(array.shape, without(spec, axis)):
        return _Form(axis)
    if spec.fits(array.shape):
        return _Form(None)
    place = _left_out(array.shape, spec)
    if place is None:
        inner = "" if axis is None else f", or [{', '.join(map(str, without(spec, axis)))}] for one sample"
        raise DataError(
            f"input '{spec.name}': a sample has shape {list(array.shape)}, the model takes {spec}{inner}; "
            "prepare the samples as the model was trained (the first axis of an array in a file counts samples)"
        )
    return _Form(None, place)


def _left_out(shape: Sequence[int], spec: TensorSpec) -> int | None:
    """Return the axis fixed at 1 that an array of this shape lacks, if it lacks nothing else."""
    places = (place for place, size in enumerate(spec.shape) if size == 1)
    return next((place for place in places if fits(shape, without(spec, place))), None)


def _size(
    signature: Signature, forms: Mapping[str, _Form], shared: frozenset[str], axes: Mapping[str, int | None]
) -> int | None:
    """Return the number of samples that every batch must have, None: any number."""
    for name, form in forms.items():
        if form.axis is None and (name not in shared or axes[name] is not None):
            return 1
    fixed = {
        size
        for spec in signature.inputs
        if spec.name in forms and spec.ranked and (axis := forms[spec.name].axis) is not None
        if isinstance(size := spec.shape[axis], int)
    }
    return max(fixed, default=None)


def shared_arrays(arrays: Mapping[str, StoredArray], signature: Signature, *, labels: int | None = None) -> frozenset[str]:
    """Return the names of arrays with one value for all samples, so that the others agree in the number of samples.

    Where both readings fit, the first axis counts samples; `labels` is the number of labels, if any.
    """
    axes = batch_axes(signature)
    specs = [spec for spec in signature.inputs if spec.name in arrays]
    counted = {spec.name for spec in specs if _counts(arrays[spec.name], spec, axes[spec.name])}
    whole = {spec.name for spec in specs if spec.fits(arrays[spec.name].shape)}
    for_all = {spec.name for spec in specs if spec.name in whole and _is_one(arrays[spec.name], spec, axes[spec.name])}
    counts = [len(arrays[name]) for name in counted]
    for count in sorted(set(counts), key=lambda count: (count != labels, -counts.count(count), -count)):
        left = {spec.name for spec in specs if not (spec.name in counted and len(arrays[spec.name]) == count)}
        if left <= for_all:
            return frozenset(left)
    held = {arrays[spec.name].shape[axis] for spec in specs if spec.name in whole and (axis := axes[spec.name]) is not None}
    return frozenset(whole if len(whole) == len(specs) and len(held) < 2 else for_all - counted)


def _is_one(array: StoredArray, spec: TensorSpec, axis: int | None) -> bool:
    """Return whether an array of the model's shape holds at most one batch of the smallest size."""
    size = spec.shape[axis] if axis is not None and spec.ranked else None
    return axis is None or not spec.ranked or array.shape[axis] == (size if isinstance(size, int) else 1)


def _counts(array: StoredArray, spec: TensorSpec, axis: int | None) -> bool:
    """Return whether the array's first axis can count samples."""
    if not array.ndim:
        return False
    inner = array.shape[1:]
    if axis is not None and fits(inner, without(spec, axis) if spec.ranked else inner):
        return True
    return spec.fits(inner) or _left_out(inner, spec) is not None
