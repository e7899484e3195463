"""Round one thing at a time: a model whose roundings are switched on and off by inputs, so that one session serves them all.

Before: x → MatMul (W) → y
After:  x → If (gate) → y       then: x → Q → DQ → MatMul (DQ (W's integers)); else: x → MatMul (W)

Of an activation that all its readers read rounded:
Before: x → …
After:  x → If (gate) → …       then: x → Q → DQ; else: x → Identity

With one gate open, the change of the outputs is what that rounding alone does. Constants stay constants in both branches, so
kernels prepare the exact ones once (a Where between them makes MobileNetV2's runs ten times as long). Rounded ones stay
integers, which onnxruntime does not fold, so that a large model is not held twice.

Scale and zero point of the activations can be inputs as well (`adjustable`), so that other ranges need no other model.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx_ir as ir
import onnxruntime as ort

from edgeopt import progress
from edgeopt.batches import Array, Batch
from edgeopt.graph import files
from edgeopt.graph.editing import add_initializer, copied, fresh_name, read_instead
from edgeopt.graph.matching import by_name, name_of, named_nodes
from edgeopt.graph.outputs import KeptInputs
from edgeopt.graph.session import SessionConfig, open_model
from edgeopt.quantize.affine import Affine
from edgeopt.quantize.compared_outputs import compared_outputs
from edgeopt.quantize.output_parts import Noises, Part, PartsNoise, parts_of
from edgeopt.quantize.plan.plan import TensorPlan
from edgeopt.quantize.sqnr import CEILING_DB


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
    readers: frozenset[str] | None = None
    """The nodes that read the activation rounded, by name; None: all."""
    output: bool = False
    """Whether the model's output of this name is rounded as well, as it is where the node that gives it rounds."""


class Gated:
    """A session on a model whose roundings can be switched on, and its outputs with none of them."""

    def __init__(
        self, model: ir.Model, gates: Sequence[Gate], batches: Sequence[Batch], *, threads: int, adjustable: bool = False
    ) -> None:
        """Build the model.

        Args:
            model: floating point; it is not changed.
            gates: their names differ.
            batches: a few samples.
            threads: for inference.
            adjustable: ranges of activations can be given with each question.
        """
        self._outputs = compared_outputs(model.graph)
        self._labels = {gate.name: _label(number) for number, gate in enumerate(gates)}
        self._gates = {gate.name: gate for gate in gates if _rounds_all(gate)} if adjustable else {}
        self._batches = batches
        self._exact: dict[int, Mapping[str, Array]] = {}
        self._grids = self._grids_of({})
        switches = {label: np.array(False) for label in self._labels.values()}
        self._session = KeptInputs(_open(model, gates, threads, adjustable=adjustable), self._outputs, switches | self._grids)

    def _run(self, number: int, opened: Set[str], grids: Mapping[str, Array]) -> Mapping[str, Array]:
        switches = {label: name in opened for name, label in self._labels.items()}
        return self._session.run(self._batches[number], {**switches, **grids}, sample=number)

    def noise(
        self, opened: Set[str], *, ranges: Mapping[str, TensorPlan] | None = None, batches: Sequence[int] | None = None
    ) -> Noises:
        """Return noise / signal of each part of the floating-point outputs with the gates `opened`; one run for each batch.

        Args:
            opened: names of gates.
            ranges: of activations, instead of those that the gates have (if they are adjustable).
            batches: the numbers of those that are run; None: all.
        """
        return np.asarray(np.clip(self.shares(opened, ranges=ranges, batches=batches).sum(axis=0), _LEAST, 1 / _LEAST))

    def shares(
        self, opened: Set[str], *, ranges: Mapping[str, TensorPlan] | None = None, batches: Sequence[int] | None = None
    ) -> Noises:
        """Return what each batch adds to `noise`, [batches, parts]; the arguments are the same."""
        grids = self._grids_of(ranges) if ranges else self._grids
        found = PartsNoise(self.parts)
        for number in range(len(self._batches)) if batches is None else batches:
            found.add(self._exactly(number, grids), self._run(number, opened, grids))
        return found.shares

    @cached_property
    def parts(self) -> list[Part]:
        """What is compared by itself: outputs, or their channels of very different size, as they are on all batches."""
        return parts_of(self._outputs, (self._exactly(number, self._grids) for number in range(len(self._batches))))

    def _exactly(self, number: int, grids: Mapping[str, Array]) -> Mapping[str, Array]:
        if number not in self._exact:
            self._exact[number] = self._run(number, frozenset(), grids)
        return self._exact[number]

    def _grids_of(self, ranges: Mapping[str, TensorPlan]) -> dict[str, Array]:
        """Return scales and zero points as inputs."""
        found: dict[str, Array] = {}
        for name, gate in self._gates.items():
            tensor = gate.tensor
            if tensor is not None:
                affine = _affine(ranges.get(tensor.name, tensor), symmetric=gate.symmetric)
                label = self._labels[name]
                found |= {f"{label}_scale": affine.scale, f"{label}_zero": affine.zero}
        return found

    def sqnr_db(self, opened: Set[str]) -> float:
        """Return the SQNR of the worst part of the outputs with the gates `opened`; one run for each batch."""
        return min((-10 * float(np.log10(noise)) for noise in self.noise(opened)), default=CEILING_DB)

    def of_each(self, names: Collection[str] | None = None) -> dict[str, float]:
        """Return the SQNR with each gate alone open, or with each of those called `names`."""
        found = {}
        wanted = self._labels if names is None else names
        with progress.task("sensitivity", total=len(wanted)) as advance:
            for name in wanted:
                found[name] = self.sqnr_db({name})
                advance()
        return found


_LEAST = 10 ** (-CEILING_DB / 10)
_AS_WRITTEN = {"session.disable_quant_qdq": "1"}
"""Rounded values are computed with in floating point; onnxruntime's fusions of them fail on constants outside a subgraph."""


def _label(number: int) -> str:
    return f"edgeopt_gate_{number}"


def _rounds_all(gate: Gate) -> bool:
    """Return whether the gate rounds an activation, and in one place."""
    return gate.reader is None and gate.tensor is not None and gate.tensor.low < gate.tensor.high


def _open(model: ir.Model, gates: Sequence[Gate], threads: int, *, adjustable: bool) -> ort.InferenceSession:
    """Open a session on the gated model, of which nothing stays in memory but what the session holds."""
    config = SessionConfig(threads=threads, entries=_AS_WRITTEN, arena=files.fits_one_message(model))
    return open_model(_gated(model, gates, adjustable=adjustable), config=config)


def _gated(model: ir.Model, gates: Sequence[Gate], *, adjustable: bool = False) -> ir.Model:
    copy = copied(model)
    graph = copy.graph
    nodes, values = named_nodes(graph), by_name(graph)
    for number, gate in enumerate(gates):
        label = ir.Value(name=_label(number), type=ir.TensorType(ir.DataType.BOOL), shape=ir.Shape([]))
        graph.inputs.append(label)
        if gate.reader is not None:
            _choose(graph, nodes[gate.reader], gate, label)
        elif gate.tensor is not None and _rounds_all(gate):
            _switch(graph, values[gate.tensor.name], gate, label, adjustable=adjustable)
    return copy


def _switch(graph: ir.Graph, value: ir.Value, gate: Gate, label: ir.Value, *, adjustable: bool) -> None:
    """Let the nodes of the graph, or those that the gate names, read `value` rounded where the gate is open."""
    uses = [use for use in value.uses() if use.node.graph is graph]
    readers = [use for use in uses if gate.readers is None or use.node.name in gate.readers]
    exact = ir.node("Identity", [value])
    grid = _grid_inputs(graph, gate, name_of(label)) if adjustable else None
    rounding = _rounding(graph, value, gate, grid)
    chosen = _either(graph, label, {"then_branch": rounding, "else_branch": [exact]}, f"{label.name}_choice")
    chosen.outputs[0].type, chosen.outputs[0].shape = value.type, value.shape
    producer = value.producer()
    if producer is not None:
        graph.insert_after(producer, chosen)
    else:
        graph.insert_before(graph[0], chosen)
    for use in readers:
        use.node.replace_input_with(use.idx, chosen.outputs[0])
    if gate.output and value.is_graph_output():
        name = name_of(value)
        value.name = fresh_name(graph, f"{name}_exact")
        chosen.outputs[0].name = name
        graph.outputs[:] = [chosen.outputs[0] if item is value else item for item in graph.outputs]


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


def _grid_inputs(graph: ir.Graph, gate: Gate, label: str) -> list[ir.Value]:
    """Return scale and zero point of the gate as new inputs of the graph."""
    if gate.tensor is None:
        return []
    kinds = {"scale": ir.DataType.FLOAT, "zero": ir.DataType[gate.tensor.dtype.upper()]}
    found = [ir.Value(name=f"{label}_{name}", type=ir.TensorType(kind), shape=ir.Shape([])) for name, kind in kinds.items()]
    graph.inputs.extend(found)
    return found


def _affine(tensor: TensorPlan, *, symmetric: bool) -> Affine:
    return Affine.of_range(tensor.low, tensor.high, tensor.dtype, symmetric=symmetric)


def _rounding(graph: ir.Graph, value: ir.Value, gate: Gate, grid: list[ir.Value] | None = None) -> list[ir.Node]:
    if gate.tensor is None:
        return []
    if grid is None:
        affine = _affine(gate.tensor, symmetric=gate.symmetric)
        parts = {"scale": affine.scale, "zero": affine.zero}
        grid = [add_initializer(graph, f"edgeopt_gate_{name}", part) for name, part in parts.items()]
    quantize = ir.node("QuantizeLinear", [value, *grid])
    return [quantize, ir.node("DequantizeLinear", [quantize.outputs[0], *grid])]
