"""Dynamic axes of the inputs, and their names.

An axis that is equal in two inputs has one name in both: a batch of token ids and its mask share ``batch`` and ``sequence``.
Where neither the caller nor the input's name decides, the samples do: axis 0 is the batch; a further axis that varies from
sample to sample is dynamic, and two such axes that always have the same size share a name. An input whose axis 0 differs from
the batch is no batch itself, but a state (its axis 0 counts layers, the batch comes further on) or a constant of the model.

    x (2, 7, 8), (3, 5, 8)    h0 (1, 2, 6), (1, 3, 6)        x: batch, x_axis1       h0: batch at axis 1
    x (3, 7, 8), (3, 5, 8)    h0 (2, 3, 6), (2, 3, 6)        x: batch, x_axis1       h0: batch at axis 1
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from keyword import iskeyword
from math import prod

import numpy as np

from edgeopt.batches import Array, Batch
from edgeopt.errors import DataError, RecipeError, nearest

Axes = dict[str, dict[int, str]]
"""Input name → axis → name of the axis; other axes are fixed."""

_MOST_VALUES = 2**31
_TOKENS = {0: "batch", 1: "sequence"}
KNOWN: Axes = {
    "input_ids": _TOKENS,
    "attention_mask": _TOKENS,
    "token_type_ids": _TOKENS,
    "position_ids": _TOKENS,
    "input_values": {0: "batch", 1: "samples"},
}
"""Names and axes common to all text and audio encoders of the transformers library."""


def find_axes(samples: Sequence[Batch], *, fixed: Mapping[str, Sequence[int]], given: Axes, known: Axes) -> Axes:
    """Return the dynamic axes of each input of `samples`.

    Args:
        samples: at least one batch; all with the same names and ranks.
        fixed: inputs without dynamic axes.
        given: axes named by the caller; they take precedence.
        known: axes named by the model's family; the samples may add more.

    Raises:
        RecipeError: `fixed` or `given` names an unknown input.
        DataError: the samples differ in names or ranks, or axes of one name in size.
    """
    names = list(samples[0])
    _check(samples, names)
    for name, option in [*((name, "shapes") for name in fixed), *((name, "axes") for name in given)]:
        if name not in names:
            raise RecipeError(f"{option}: the model has no input '{name}'{nearest(name, names)}; inputs: {', '.join(names)}")
    _check_names(samples[0], given)
    observed = _observed(samples)
    axes: Axes = {}
    for name in names:
        if name in fixed:
            axes[name] = {}
        else:
            varying, batch = observed[name]
            axes[name] = given.get(name) or varying | (known.get(name) or KNOWN.get(name) or batch)
    for number, named in enumerate(samples):
        _check_equal(named, axes, number)
    return axes


def _check_equal(sample: Batch, axes: Axes, number: int) -> None:
    seen: dict[str, tuple[int, str]] = {}
    for name, dynamic in axes.items():
        for axis, called in dynamic.items():
            size = sample[name].shape[axis]
            first, where = seen.setdefault(called, (size, name))
            if first != size and not summed(called):
                raise DataError(
                    f"sample {number}: the axis '{called}' is {first} in '{where}' and {size} in '{name}'; axes of one name "
                    "are equal: give the two different names (option axes), or samples of one size"
                )


def _check(samples: Sequence[Batch], names: list[str]) -> None:
    ranks = {name: samples[0][name].ndim for name in names}
    for index, batch in enumerate(samples):
        found = {name: array.ndim for name, array in batch.items()}
        if found != ranks:
            raise DataError(f"sample {index} has inputs and ranks {found}, sample 0 has {ranks}; all samples must agree")


def _check_names(sample: Batch, given: Axes) -> None:
    for name, named in given.items():
        for axis, called in named.items():
            if not 0 <= axis < sample[name].ndim:
                raise RecipeError(f"axes: input '{name}' has {sample[name].ndim} axes, counted from 0, and no axis {axis}")
            if not all(part.strip().isidentifier() and not iskeyword(part.strip()) for part in called.split("+")):
                raise RecipeError(f"axes: axis {axis} of '{name}' is called '{called}'; write a name such as batch")


def _observed(samples: Sequence[Batch]) -> dict[str, tuple[dict[int, str], dict[int, str]]]:
    """Return the names of each input's axes (after the first) that vary between samples, and of its batch axis.

    Equal size everywhere means one name.
    """
    sizes = {
        name: [tuple(batch[name].shape[axis] for batch in samples) for axis in range(array.ndim)]
        for name, array in samples[0].items()
    }
    batch = _batch(list(sizes.values()))
    names: dict[tuple[int, ...], str] = {}
    found = {}
    for name, seen in sizes.items():
        place = next((axis for axis, size in enumerate(seen) if size == batch), None)
        varying = {
            axis: names.setdefault(size, f"{name}_axis{axis}")
            for axis, size in enumerate(seen)
            if axis and axis != place and len(set(size)) > 1
        }
        found[name] = varying, {} if place is None else {place: "batch"}
    return found


def _batch(sizes: Sequence[Sequence[tuple[int, ...]]]) -> tuple[int, ...]:
    """Return the batch's size in each sample: the first axis 0 that all inputs have, at whatever place; else the first one."""
    rows = [seen[0] for seen in sizes if seen]
    return next((size for size in rows if all(size in seen for seen in sizes if seen)), rows[0] if rows else ())


def summed(name: str) -> bool:
    """Return whether an axis is a sum of others, such as ``past_sequence + sequence``, which torch infers."""
    return "+" in name


def fit(array: Array, shape: Sequence[int]) -> Array:
    """Return `array` with `shape`: rows repeated or dropped along axis 0, other axes cut or padded with zeros at their end.

    Raises:
        RecipeError: the ranks differ, or no memory holds the shape.
        DataError: the array has no rows to repeat.
    """
    if array.ndim != len(shape):
        raise RecipeError(f"shapes: the fixed shape has {len(shape)} axes, the input has {array.ndim}")
    if prod(shape) > _MOST_VALUES:
        raise RecipeError(f"shapes: {list(shape)} are {prod(shape):,} values; at most {_MOST_VALUES:,} can be traced with")
    if not shape:
        return array
    if not array.shape[0]:
        raise DataError(f"shapes: a sample has no rows to fill {list(shape)} with")
    rows = array[np.arange(shape[0]) % array.shape[0]]
    fitted = np.zeros(shape, dtype=array.dtype)
    inner = tuple(slice(0, min(have, want)) for have, want in zip(rows.shape[1:], shape[1:], strict=True))
    fitted[(slice(None), *inner)] = rows[(slice(None), *inner)]
    return fitted


def fitted(batches: Sequence[Batch], shapes: Mapping[str, Sequence[int]]) -> list[Batch]:
    """Return `batches` with the inputs of fixed shape padded or cut to it."""
    return [{name: fit(array, shapes[name]) if name in shapes else array for name, array in batch.items()} for batch in batches]
