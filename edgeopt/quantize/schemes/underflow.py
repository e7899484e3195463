"""Numbers too small for float16, and the nodes that must not read them rounded.

float16 rounds what is below 3e-8 to 0 and what is below 2e-6 to a few bits. A weight or a probability loses nothing by it; a
logarithm or a division makes an infinity of it:

    x → Add (1e-10) → e → Log        in float16: 1e-10 is 0, and the logarithm of 0 is -inf

So a node that is sensitive to small numbers (`_SENSITIVE`) stays in float32 where what it reads is that small: on the
calibration samples, or because a constant that small was added to it or bounds it, whatever the samples have. With it stay the
nodes that produce these numbers, back to where they are larger. Other ways to infinity are found by running the converted model
(`first_lost`).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import numpy_helper

from edgeopt.batches import Array, Batch
from edgeopt.graph import files
from edgeopt.graph.index import GraphIndex
from edgeopt.graph.outputs import open_exposed, run

SMALLEST = 2.0**-19
"""Below this float16 is off by more than 1/64 of a number."""
_SENSITIVE = {"Log": 0, "Reciprocal": 0, "Sqrt": 0, "ReduceLogSum": 0, "Div": 1}
"""Operators that make large numbers of small ones, and which input is meant; Pow is one with an exponent below 1."""
_GUARDS = {"Add", "Sub", "Max", "Clip"}
"""How a small constant keeps another tensor from 0."""
_HANDING_ON = {"Sqrt", "Expand", "Reshape", "Unsqueeze", "Squeeze", "Identity", "Transpose", "Cast", "Slice", "Gather"}


def is_small(values: Array) -> bool:
    """Tell whether `values` hold a number that is not 0 and too small for float16."""
    magnitudes = np.abs(values)
    return bool(((magnitudes > 0) & (magnitudes < SMALLEST)).any())


def endangered(index: GraphIndex, graph: onnx.GraphProto, small: set[str], floats: set[str]) -> dict[str, str]:
    """Return the nodes to keep in float32, by name, with the tensor whose small numbers are the reason.

    Args:
        index: of `graph`.
        graph: its nodes are in topological order.
        small: tensors that hold small numbers, on samples or as constants.
        floats: the float32 tensors.
    """
    small = small | _guarded(graph, index)
    found: dict[str, str] = {}
    waiting = []
    for node in graph.node:
        position = _sensitive_input(node, index)
        if position is not None and position < len(node.input) and node.input[position] in small:
            found[node.name] = node.input[position]
            waiting.append(node.input[position])
    seen = set(waiting)
    while waiting:
        name = waiting.pop()
        producer = index.producer.get(name)
        if producer is None:
            continue
        found.setdefault(producer.name, name)
        sources = [source for source in producer.input if source in small & floats and source not in seen]
        seen.update(sources)
        waiting += sources
    return found


def _sensitive_input(node: onnx.NodeProto, index: GraphIndex) -> int | None:
    if node.op_type != "Pow":
        return _SENSITIVE.get(node.op_type)
    exponent = index.initializers.get(node.input[1])
    return 0 if exponent is not None and bool((numpy_helper.to_array(exponent) < 1).any()) else None


def _guarded(graph: onnx.GraphProto, index: GraphIndex) -> set[str]:
    """Return the tensors that nothing but a small constant may keep from 0."""
    found: set[str] = set()
    for node in graph.node:
        guards = [index.initializers[name] for name in node.input if name in index.initializers]
        guard = node.op_type in _GUARDS and any(_is_guard(tensor) for tensor in guards)
        if guard or (node.op_type in _HANDING_ON and node.input and node.input[0] in found):
            found.update(node.output)
    return found


def _is_guard(tensor: onnx.TensorProto) -> bool:
    if tensor.data_type != onnx.TensorProto.FLOAT:
        return False
    values = np.abs(numpy_helper.to_array(tensor))
    return bool(values.size and 0 < values.max() < SMALLEST)


def first_lost(model: onnx.ModelProto, made: onnx.ModelProto, batches: Iterable[Batch], *, threads: int) -> str | None:
    """Return the first node of `made`, in order, that gives numbers which are not finite where those of `model` are.

    None if the outputs lose none on `batches`; "" if no node of `model` is to blame.
    """
    outputs = [value.name for value in model.graph.output if value.type.HasField("tensor_type")]
    before = {node.name: node for node in model.graph.node}
    pairs = [
        (node.name, old, new)
        for node in made.graph.node
        if node.name in before
        for old, new in zip(before[node.name].output, node.output, strict=True)
        if old
    ]
    sessions = open_exposed(model, threads=threads), open_exposed(made, threads=threads)
    types = {spec.name: spec.dtype for spec in files.signature(files.as_ir(made)).inputs}
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
