"""Round one thing at a time: a model whose roundings are switched on and off by inputs, so that one session serves them all.

Before: x → MatMul (W) → y
After:  x → If (gate) → y       then: x → Q → DQ → MatMul (DQ (W's integers)); else: x → MatMul (W)

Of an activation that all its readers read rounded:
Before: x → …
After:  x → If (gate) → …       then: x → Q → DQ; else: x → Identity

With one gate open, the change of the outputs is what that rounding alone does. Constants stay constants in both branches, so
kernels prepare the exact ones once (a Where between them makes MobileNetV2's runs ten times as long). Rounded ones stay
integers, which onnxruntime does not fold, so that a large model is not held twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
from numpy.typing import NDArray

from edgeopt import progress
from edgeopt.batches import Array, Batch
from edgeopt.graph import files
from edgeopt.graph.editing import add_initializer, copied, fresh_name, read_instead
from edgeopt.graph.matching import by_name, is_float, name_of, named_nodes
from edgeopt.graph.outputs import run
from edgeopt.graph.session import SessionConfig, open_model
from edgeopt.quantize.affine import Affine
from edgeopt.quantize.plan.plan import TensorPlan
from edgeopt.quantize.sqnr import Noise


@dataclass(frozen=True)
class Rounded:
    """A constant by its name, and the DequantizeLinear (of another model) that makes its rounded values from integers."""

    name: str
    dequantize: ir.Node


@dataclass(frozen=True)
class Gate:
    """What is rounded together: an activation, for all its readers or for one node, and perhaps a constant of that node's."""

    name: str
    tensor: TensorPlan | None
    reader: str | None = None
    constant: Rounded | None = None
    symmetric: bool = False
    """Whether the activation's zero point lies in the middle."""


class Gated:
    """A session on a model whose roundings can be switched on, and its outputs with none of them."""

    def __init__(self, model: ir.Model, gates: Sequence[Gate], batches: Sequence[Batch], *, threads: int) -> None:
        """Build the model; `model` is floating point and not changed, the names of the gates differ, the batches are few."""
        self._outputs = [name_of(value) for value in model.graph.outputs if is_float(value)]
        self._labels = {gate.name: _label(number) for number, gate in enumerate(gates)}
        self._session = _open(model, gates, threads)
        self._batches = batches
        self._exact = [self._run(number, frozenset()) for number in range(len(batches))]

    def _run(self, number: int, opened: Set[str]) -> Mapping[str, Array]:
        switches = {label: np.array(name in opened) for name, label in self._labels.items()}
        return run(self._session, self._outputs, {**self._batches[number], **switches}, sample=number)

    def noise(self, opened: Set[str]) -> NDArray[np.float64]:
        """Return noise / signal at each floating-point output with the gates `opened`; one run for each batch."""
        found = {name: Noise() for name in self._outputs}
        for number, exact in enumerate(self._exact):
            got = self._run(number, opened)
            for name, values in exact.items():
                found[name].add(values, got[name])
        return np.array([10 ** (-noise.db / 10) for noise in found.values()])

    def sqnr_db(self, opened: Set[str]) -> float:
        """Return the SQNR at the model's floating-point outputs with the gates `opened`; one run for each batch."""
        noise = Noise()
        for number, exact in enumerate(self._exact):
            got = self._run(number, opened)
            for name, values in exact.items():
                noise.add(values, got[name])
        return noise.db

    def of_each(self) -> dict[str, float]:
        """Return the SQNR with each gate alone open."""
        found = {}
        with progress.task("sensitivity", total=len(self._labels)) as advance:
            for name in self._labels:
                found[name] = self.sqnr_db({name})
                advance()
        return found


_AS_WRITTEN = {"session.disable_quant_qdq": "1"}
"""Rounded values are computed with in floating point; onnxruntime's fusions of them fail on constants outside a subgraph."""


def _label(number: int) -> str:
    return f"edgeopt_gate_{number}"


def _open(model: ir.Model, gates: Sequence[Gate], threads: int) -> ort.InferenceSession:
    """Open a session on the gated model, of which nothing stays in memory but what the session holds."""
    config = SessionConfig(threads=threads, entries=_AS_WRITTEN, arena=files.fits_one_message(model))
    return open_model(_gated(model, gates), config=config)


def _gated(model: ir.Model, gates: Sequence[Gate]) -> ir.Model:
    copy = copied(model)
    graph = copy.graph
    nodes, values = named_nodes(graph), by_name(graph)
    for number, gate in enumerate(gates):
        label = ir.Value(name=_label(number), type=ir.TensorType(ir.DataType.BOOL), shape=ir.Shape([]))
        graph.inputs.append(label)
        if gate.reader is not None:
            _choose(graph, nodes[gate.reader], gate, label)
        elif gate.tensor is not None and gate.tensor.low < gate.tensor.high:
            _switch(graph, values[gate.tensor.name], gate, label)
    return copy


def _switch(graph: ir.Graph, value: ir.Value, gate: Gate, label: ir.Value) -> None:
    """Let all nodes of the graph read `value` rounded where the gate is open."""
    readers = [use for use in value.uses() if use.node.graph is graph]
    exact = ir.node("Identity", [value])
    chosen = _either(
        graph, label, {"then_branch": _rounding(graph, value, gate), "else_branch": [exact]}, f"{label.name}_choice"
    )
    chosen.outputs[0].type, chosen.outputs[0].shape = value.type, value.shape
    producer = value.producer()
    if producer is not None:
        graph.insert_after(producer, chosen)
    else:
        graph.insert_before(graph[0], chosen)
    for use in readers:
        use.node.replace_input_with(use.idx, chosen.outputs[0])


def _either(graph: ir.Graph, label: ir.Value, branches: Mapping[str, Sequence[ir.Node]], name: str) -> ir.Node:
    """Return an If on `label` with the result of the last node of one branch or the other."""
    graphs = {}
    for branch, nodes in branches.items():
        for node in nodes:
            node.outputs[0].name = fresh_name(graph, f"{label.name}_{branch}")
        nodes[-1].name = f"{name}_{branch}"
        graphs[branch] = ir.Graph([], nodes[-1].outputs, nodes=nodes, name=f"{label.name}_{branch}")
    return ir.node("If", [label], graphs, name=name)


def _choose(graph: ir.Graph, reader: ir.Node, gate: Gate, label: ir.Value) -> None:
    """Put an If in the place of the gate's reader: that node with its inputs rounded, or as it was."""
    exact, rounded = _twin(reader), _twin(reader)
    inside: list[ir.Node] = []
    for value in dict.fromkeys(reader.inputs):
        rounding: list[ir.Node] = []
        if value is not None and gate.constant is not None and value.name == gate.constant.name:
            rounding = _rounded(graph, gate.constant, name_of(label))
        elif value is not None and gate.tensor is not None and value.name == gate.tensor.name:
            rounding = _rounding(graph, value, gate) if gate.tensor.low < gate.tensor.high else []
        if value is not None and rounding:
            read_instead(rounded, value, rounding[-1].outputs[0])
            inside += rounding
    chosen = _either(graph, label, {"then_branch": [*inside, rounded], "else_branch": [exact]}, str(reader.name))
    old, new = reader.outputs[0], chosen.outputs[0]
    new.type, new.shape = old.type, old.shape
    graph.insert_before(reader, chosen)
    new.name, old.name = old.name, fresh_name(graph, f"{old.name}_exact")
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    graph.remove(reader, safe=True)


def _twin(node: ir.Node) -> ir.Node:
    return ir.Node(node.domain, node.op_type, node.inputs, node.attributes.values(), num_outputs=1)


def _rounded(graph: ir.Graph, constant: Rounded, label: str) -> list[ir.Node]:
    tensors = [value.const_value for value in constant.dequantize.inputs if value is not None]
    values = [add_initializer(graph, f"{label}_rounded", _shared(item)) for item in tensors if item is not None]
    return [ir.Node("", "DequantizeLinear", values, constant.dequantize.attributes.values(), num_outputs=1)]


def _shared(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    """Return the values of a tensor of another model under a name of their own."""
    return ir.Tensor(tensor.numpy(), tensor.dtype, shape=ir.Shape(tensor.shape.numpy()))


def _rounding(graph: ir.Graph, value: ir.Value, gate: Gate) -> list[ir.Node]:
    tensor = gate.tensor
    if tensor is None:
        return []
    affine = Affine.of_range(tensor.low, tensor.high, tensor.dtype, symmetric=gate.symmetric)
    parts = {"scale": affine.scale, "zero": affine.zero}
    grid = [add_initializer(graph, f"edgeopt_gate_{name}", part) for name, part in parts.items()]
    quantize = ir.node("QuantizeLinear", [value, *grid])
    return [quantize, ir.node("DequantizeLinear", [quantize.outputs[0], *grid])]
