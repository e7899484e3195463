"""The tensors by which a quantized model is compared with the floating-point one.

These are its floating-point outputs. Other outputs say little or nothing by their numbers: a class (ArgMax), a mask (Greater),
a sequence, boxes that NonMaxSuppression picked, of which another model may pick another number. There the floating-point
tensors that they are computed from are compared. While a model is quantized, these are outputs as well:

Before: x → Gemm → logits → ArgMax → label        outputs: label
After:  the same                                  outputs: label, logits
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx_ir as ir

from edgeopt.graph.editing import remove_unused
from edgeopt.graph.matching import constant, is_float, name_of

_PICKING = frozenset({"NonMaxSuppression", "NonZero", "Unique", "Compress"})
"""Operators whose results have a size that depends on values."""
_SHAPED_LIKE_FIRST = frozenset({"ScatterND", "ScatterElements", "Scatter"})


def compared_outputs(graph: ir.Graph) -> list[str]:
    """Return the names of the outputs whose numbers can be compared, in order."""
    picked = _picked(graph)
    return list(dict.fromkeys(name_of(value) for value in graph.outputs if _is_comparable(value, picked)))


def expose_compared(model: ir.Model) -> tuple[str, ...]:
    """Append to the outputs the tensors that are compared instead of some; return their names.

    The nodes of `model` are in order.
    """
    picked = _picked(model.graph)
    others = [value for value in model.graph.outputs if not _is_comparable(value, picked)]
    found = dict.fromkeys(_behind(others, picked))
    added = [value for value in found if not value.is_graph_output()]
    model.graph.outputs.extend(added)
    return tuple(map(name_of, added))


def hide_compared(model: ir.Model, names: Iterable[str]) -> None:
    """Take what `expose_compared` appended from the outputs again, with what only these needed."""
    hidden = set(names)
    if hidden:
        model.graph.outputs[:] = [value for value in model.graph.outputs if value.name not in hidden]
        remove_unused(model)


def _is_comparable(value: ir.Value, picked: frozenset[ir.Value]) -> bool:
    return isinstance(value.type, ir.TensorType) and is_float(value) and value not in picked and not _counts(value)


def _counts(value: ir.Value) -> bool:
    """Return whether a floating-point tensor holds integers or truth values."""
    producer = value.producer()
    source = producer.inputs[0] if producer is not None and producer.op_type == "Cast" else None
    return source is not None and source.dtype is not None and not is_float(source)


def _picked(graph: ir.Graph) -> frozenset[ir.Value]:
    """Return the tensors whose shape depends on floating-point values, and what is computed from them."""
    moved, picked = set[ir.Value](), set[ir.Value]()
    for node in graph:
        read = [value for value in node.inputs if value is not None and constant(value) is None]
        sources = read[:1] if node.op_type in _SHAPED_LIKE_FIRST else read
        rounded = any(value in moved or is_float(value) for value in read)
        if rounded:
            moved.update(node.outputs)
        if any(value in picked for value in sources) or (rounded and node.op_type in _PICKING):
            picked.update(node.outputs)
    return frozenset(picked)


def _behind(values: Iterable[ir.Value], picked: frozenset[ir.Value]) -> Iterator[ir.Value]:
    """Yield the nearest tensors that can be compared and from which `values` are computed."""
    waiting, seen = list(values), set[ir.Value]()
    while waiting:
        producer = waiting.pop(0).producer()
        for value in producer.inputs if producer is not None else ():
            if value is None or value in seen or value.producer() is None or constant(value) is not None:
                continue
            seen.add(value)
            if _is_comparable(value, picked):
                yield value
            else:
                waiting.append(value)
