"""Which axis of each model input counts samples, by the axes' names: the one rule for everything that cuts or stacks.

    x ["batch", 3, 224, 224]                       axis 0
    x [10, "batch", 6]    h0 [1, "batch", 8]       axis 1 of both: the same name
    x ["s18", "s52"]      mask ["s43", "s52"]      axis 0: a free first axis that is not called after something else
    x ["time", 16]        state [1, 32]            none: samples are whole inputs
    x ["?", "?"]          state [2, "?", 128]      axis 0 and axis 1: a recurrent state (layers, batch, hidden)
    x [n, 8]    z [m, 8]    output [n, m]          axis 0 of x, none of z: m is another axis of a tensor that has n
    x [1, 3, 224, 224]                             axis 0, fixed; also where the first axes of all inputs are one size above 1

An input without such an axis (a scalar, a start state, a table) is never cut.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from edgeopt.batches import Batch
from edgeopt.graph.signature import Signature, TensorSpec

Axes = Mapping[str, int | None]
_BATCH = re.compile(r"n|b|bs|bsz|.*batch.*", re.IGNORECASE)
_OTHER = re.compile(
    r"[tlshwckqdf]|samples|.*(time|seq|len|frame|step|token|past|height|width|channel|feature|hidden|point|node|edge|box|window"
    r"|chunk|patch|pixel|position|layer|head|word|char|audio).*",
    re.IGNORECASE,
)


def batch_axes(signature: Signature) -> dict[str, int | None]:
    """Return the axis of each input that counts samples, None where it has none."""
    named = {size for spec in signature.inputs for size in spec.shape if isinstance(size, str) and is_batch_name(size)}
    leading = {size for spec in signature.inputs for size in spec.shape[:1] if isinstance(size, str) and _may_count(size)}
    symbols = named - {"n", "N"} or named or (leading - {"?"})  # n beside b counts something else
    symbols -= _beside_another(signature, symbols)
    holders = [spec for spec in (*signature.inputs, *signature.outputs) if symbols & set(spec.shape)]
    others = {size for spec in holders for size in spec.shape if isinstance(size, str)} - symbols - {"?"}
    axes = {spec.name: _axis(spec, symbols, others) for spec in signature.inputs}
    if any(axis is not None for axis in axes.values()):
        unnamed = any(spec.shape[:1] == ("?",) for spec in signature.inputs)
        return {
            spec.name: 1 if unnamed and axes[spec.name] is None and _is_state(spec) else axes[spec.name]
            for spec in signature.inputs
        }
    if any(isinstance(size, str) for spec in signature.inputs for size in spec.shape[:1]):
        return axes
    sizes = {spec.shape[0] for spec in signature.inputs if spec.shape}
    alike = len(sizes) == 1 and 0 not in sizes and any(len(spec.shape) > 1 for spec in signature.inputs)
    return {spec.name: 0 if spec.shape and (spec.shape[0] == 1 or alike) else None for spec in signature.inputs}


def is_batch_name(axis: str) -> bool:
    """Return whether an axis of this name counts samples."""
    return axis.isidentifier() and bool(_BATCH.fullmatch(axis))


def rows(batch: Batch, axes: Axes) -> int:
    """Return the number of samples in a batch; 1 where no input has an axis that counts them."""
    counted = [(batch[name].shape, axis) for name, axis in axes.items() if axis is not None and name in batch]
    return max((shape[axis] for shape, axis in counted if axis < len(shape)), default=1)


def without(spec: TensorSpec, axis: int) -> tuple[int | str, ...]:
    """Return the axes of `spec` but one."""
    return spec.shape[:axis] + spec.shape[axis + 1 :]


def _beside_another(signature: Signature, symbols: set[str]) -> set[str]:
    """Return the symbols that an output has beside one that the inputs name before: one of the two counts something else."""
    order = list(dict.fromkeys(size for spec in signature.inputs for size in spec.shape if size in symbols))
    held = ([symbol for symbol in order if symbol in spec.shape] for spec in signature.outputs)
    return {symbol for symbols_of_one in held for symbol in symbols_of_one[1:]}


def _may_count(axis: str) -> bool:
    return axis == "?" or (axis.isidentifier() and not _OTHER.fullmatch(axis))


def _axis(spec: TensorSpec, symbols: set[str], others: set[str]) -> int | None:
    """Return the place of one of `symbols`, else that of a free first axis that is none of the `others` beside them."""
    if not spec.ranked:
        return 0
    found = next((place for place, size in enumerate(spec.shape) if size in symbols), None)
    first = spec.shape[0] if spec.shape else 0
    return 0 if found is None and isinstance(first, str) and first not in others and _may_count(first) else found


def _is_state(spec: TensorSpec) -> bool:
    """Return whether an input looks like [layers, batch, hidden] with an axis that has no name."""
    first, *others = spec.shape or ("",)
    return isinstance(first, int) and others[:1] == ["?"] and "?" not in others[1:]
