"""Numbers too small for float16, and the nodes that must not read them rounded.

float16 rounds what is below 3e-8 to 0 and what is below 2e-6 to a few bits. A weight or a probability among larger ones loses
nothing by it; a logarithm or a division makes an infinity of it:

    x → Add (1e-10) → e → Log        in float16: 1e-10 is 0, and the logarithm of 0 is -inf

A tensor whose numbers are all that small is lost as a whole (weights of 1e-10, scaled back by what follows): what reads or
produces it stays in float32, unless it is a constant that is only added (`vanishing`).

And a node that is sensitive to small numbers (`_SENSITIVE`) stays in float32 where what it reads is that small: on the
calibration samples, or because a constant that small was added to it or bounds it, whatever the samples have. With it stay the
nodes that produce these numbers, back to where they are larger. Other ways to infinity are found by running the converted model
(`first_lost`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set

import numpy as np
import onnx_ir as ir

from edgeopt.batches import Array, Batch
from edgeopt.graph import files
from edgeopt.graph.matching import array, constant, name_of
from edgeopt.graph.outputs import open_exposed, run

SMALLEST = 2.0**-19
"""Below this float16 is off by more than 1/64 of a number."""
_SENSITIVE = {"Log": 0, "Reciprocal": 0, "Sqrt": 0, "ReduceLogSum": 0, "Div": 1}
"""Operators that make large numbers of small ones, and which input is meant; Pow is one with an exponent below 1."""
_GUARDS = {"Add", "Sub", "Max", "Clip"}
"""How a small constant keeps another tensor from 0."""
_BIASED = {"Conv", "ConvTranspose", "Gemm"}
"""Operators whose third input is added."""
_FORWARDING = {"Sqrt", "Expand", "Reshape", "Unsqueeze", "Squeeze", "Identity", "Transpose", "Cast", "Slice", "Gather"}


def is_small(values: Array) -> bool:
    """Return whether `values` hold a number that is not 0 and too small for float16."""
    magnitudes = np.abs(values)
    return bool(((magnitudes > 0) & (magnitudes < SMALLEST)).any())


def endangered(graph: ir.Graph, small: Set[str], floats: Set[ir.Value]) -> dict[str, str]:
    """Return the nodes to keep in float32, by name, with the tensor whose small numbers are the reason.

    Args:
        graph: its nodes are in topological order.
        small: names of the tensors that hold small numbers, on samples or as constants.
        floats: the float32 values.
    """
    guarded = _guarded(graph)
    found: dict[str, str] = {}
    waiting: list[ir.Value] = []

    def is_endangered(value: ir.Value | None) -> bool:
        return value is not None and (value.name in small or value in guarded)

    for node in graph:
        position = _sensitive_input(node)
        value = node.inputs[position] if position is not None and position < len(node.inputs) else None
        if value is not None and is_endangered(value):
            found[name_of(node)] = name_of(value)
            waiting.append(value)
    seen = set(waiting)
    while waiting:
        value = waiting.pop()
        producer = value.producer()
        if producer is None:
            continue
        found.setdefault(name_of(producer), name_of(value))
        for source in producer.inputs:
            if source is not None and source in floats and source not in seen and is_endangered(source):
                seen.add(source)
                waiting.append(source)
    return found


def vanishing(graph: ir.Graph, largest: Mapping[str, float]) -> dict[str, str]:
    """Return the nodes to keep in float32, by name, with a tensor of which float16 leaves nothing.

    Args:
        graph: of the model.
        largest: the largest magnitude of each float32 tensor, on samples or as a constant.
    """
    return {
        name_of(node): name_of(value)
        for node in graph
        for value in (*node.inputs, *node.outputs)
        if value is not None
        and 0 < largest.get(name_of(value), 0) < SMALLEST
        and not (_is_added(value, node) and _is_guard(value))
    }


def _is_added(value: ir.Value, node: ir.Node) -> bool:
    """Return whether a node adds a tensor to others, or bounds them by it."""
    return node.op_type in _GUARDS or (node.op_type in _BIASED and value in node.inputs[2:])


def _sensitive_input(node: ir.Node) -> int | None:
    if node.op_type != "Pow":
        return _SENSITIVE.get(node.op_type)
    exponent = array(node.inputs[1])
    return 0 if exponent is not None and bool((exponent < 1).any()) else None


def _guarded(graph: ir.Graph) -> set[ir.Value]:
    """Return the values that nothing but a small constant may keep from 0."""
    found: set[ir.Value] = set()
    for node in graph:
        guard = node.op_type in _GUARDS and any(map(_is_guard, node.inputs))
        if guard or (node.op_type in _FORWARDING and node.inputs and node.inputs[0] in found):
            found.update(node.outputs)
    return found


def _is_guard(value: ir.Value | None) -> bool:
    tensor = constant(value)
    if tensor is None or tensor.dtype != ir.DataType.FLOAT:
        return False
    values = np.abs(tensor.numpy())
    return bool(values.size and 0 < values.max() < SMALLEST)


def first_lost(model: ir.Model, made: ir.Model, batches: Iterable[Batch], *, threads: int) -> str | None:
    """Return the first node of `made`, in order, whose output is not finite where that of `model` is.

    None if the outputs of the model lose no number on `batches`; "" if none of its nodes is to blame.
    """
    outputs = [name_of(value) for value in model.graph.outputs if isinstance(value.type, ir.TensorType)]
    before = {node.name: node for node in model.graph}
    pairs = [
        (name_of(node), name_of(old), name_of(new))
        for node in made.graph
        if node.name in before
        for old, new in zip(before[node.name].outputs, node.outputs, strict=False)  # unread ones at the end are gone
        if old.name and new.name
    ]
    sessions = open_exposed(model, threads=threads), open_exposed(made, threads=threads)
    types = {spec.name: spec.dtype for spec in files.signature(made).inputs}
    for number, batch in enumerate(batches):
        given = {name: values.astype(types[name]) for name, values in batch.items()}
        expected, got = run(sessions[0], outputs, batch, sample=number), run(sessions[1], outputs, given, sample=number)
        if not any(_lost(expected[name], got[name]) for name in outputs):
            continue
        old, new = [pair[1] for pair in pairs], [pair[2] for pair in pairs]
        wide = run(open_exposed(model, old, threads=threads), old, batch, sample=number)
        narrow = run(open_exposed(made, new, threads=threads), new, given, sample=number)
        return next((name for name, left, right in pairs if _lost(wide[left], narrow[right])), "")
    return None


def _lost(expected: Array, got: Array) -> bool:
    if expected.dtype.kind != "f" or expected.shape != got.shape:
        return False
    return bool((np.isfinite(expected) & ~np.isfinite(got)).any())
