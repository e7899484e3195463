"""Round one thing at a time: a model whose roundings are switched on and off by inputs, so that one session serves them all.

Before: x → MatMul (W) → y
After:  x → If (gate) → y       then: x → Q → DQ → MatMul (DQ (W's integers)); else: x → MatMul (W)

Of an activation that all its readers read rounded:
Before: x → …
After:  x → Q → DQ ─┐
        x ──────────┴ Where (gate) → …

With one gate open, the change of the outputs is what that rounding alone does. Constants stay constants in both branches, so
kernels prepare the exact ones once (a Where between them makes MobileNetV2's runs ten times as long). Rounded ones stay
integers, which onnxruntime does not fold, so that a large model is not held twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from edgeopt import progress
from edgeopt.batches import Array, Batch
from edgeopt.graph import onnx_file
from edgeopt.graph.index import GraphIndex, rename_input
from edgeopt.graph.outputs import open_exposed, run
from edgeopt.graph.session import SessionConfig, large_config, open_session
from edgeopt.lifetime import temporary_folder
from edgeopt.quantize.affine import Affine
from edgeopt.quantize.plan.plan import TensorPlan
from edgeopt.quantize.sqnr import Noise


@dataclass(frozen=True)
class Rounded:
    """A constant, and the DequantizeLinear that makes its rounded values from `integers`, tensors by name."""

    name: str
    maker: onnx.NodeProto
    integers: Mapping[str, TensorProto]


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
    """A session on a model whose roundings can be opened, and what it gives with none of them."""

    def __init__(self, model: onnx.ModelProto, gates: Sequence[Gate], batches: Sequence[Batch], *, threads: int) -> None:
        """Build the model; `model` is floating point and not changed, the names of the gates differ, the batches are few."""
        index = GraphIndex(model.graph)
        self._outputs = [value.name for value in model.graph.output if index.is_float(value.name)]
        self._labels = {gate.name: _label(number) for number, gate in enumerate(gates)}
        self._session = _open(model, gates, threads)
        self._batches = batches
        self._exact = [self._run(number, frozenset()) for number in range(len(batches))]

    def _run(self, number: int, opened: Set[str]) -> Mapping[str, Array]:
        switches = {label: np.array(name in opened) for name, label in self._labels.items()}
        return run(self._session, self._outputs, {**self._batches[number], **switches}, sample=number)

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


def _label(number: int) -> str:
    return f"gate_{number}"


def _open(model: onnx.ModelProto, gates: Sequence[Gate], threads: int) -> ort.InferenceSession:
    """Open a session on the gated model, of which nothing stays in memory but what the session holds."""
    if onnx_file.fits_one_message(model):
        return open_exposed(_gated(model, gates), threads=threads)
    with temporary_folder() as folder:
        path, _ = onnx_file.write_for_now(_gated(model, gates), Path(folder) / "model.onnx")
        return open_session(path, config=large_config(model, SessionConfig(threads=threads, arena=False)))


def _gated(model: onnx.ModelProto, gates: Sequence[Gate]) -> onnx.ModelProto:
    copy = onnx_file.copy_of(model)
    graph = copy.graph
    added: dict[str, list[onnx.NodeProto]] = {}
    """By the tensor behind which they stand."""
    for number, gate in enumerate(gates):
        label = _label(number)
        graph.input.append(helper.make_tensor_value_info(label, TensorProto.BOOL, []))
        if gate.reader is not None:
            _choose(graph, gate, label)
        elif gate.tensor is not None and gate.tensor.low < gate.tensor.high:
            *rounding, rounded = _rounding(graph, gate, gate.tensor, label)
            chosen = f"{label}_activation"
            for node in graph.node:
                rename_input(node, gate.tensor.name, chosen)
            where = helper.make_node("Where", [label, rounded.output[0], gate.tensor.name], [chosen])
            added.setdefault(gate.tensor.name, []).extend([*rounding, rounded, where])
    _insert(graph, added)
    return copy


def _choose(graph: onnx.GraphProto, gate: Gate, label: str) -> None:
    """Put an If in the place of the gate's reader: that node with its inputs rounded, or as it was."""
    place = next(number for number, node in enumerate(graph.node) if node.name == gate.reader)
    exact, rounded = onnx.NodeProto(), onnx.NodeProto()
    for node in (exact, rounded):
        node.CopyFrom(graph.node[place])
    inside: list[onnx.NodeProto] = []
    if gate.constant is not None:
        inside += _rounded(graph, gate.constant, label)
        rename_input(rounded, gate.constant.name, inside[-1].output[0])
    if gate.tensor is not None and gate.tensor.low < gate.tensor.high:
        inside += _rounding(graph, gate, gate.tensor, label)
        rename_input(rounded, gate.tensor.name, inside[-1].output[0])
    branches = {}
    for branch, nodes in (("then_branch", [*inside, rounded]), ("else_branch", [exact])):
        result = f"{label}_{branch}"
        nodes[-1].name, nodes[-1].output[0] = f"{nodes[-1].name}_{branch}", result
        branches[branch] = helper.make_graph(nodes, result, [], [onnx.ValueInfoProto(name=result)])
    chosen = helper.make_node("If", [label], [graph.node[place].output[0]], gate.reader, **branches)
    graph.node[place].CopyFrom(chosen)


def _rounded(graph: onnx.GraphProto, constant: Rounded, label: str) -> list[onnx.NodeProto]:
    names: list[str] = []
    for name in constant.maker.input:
        tensor = graph.initializer.add()
        tensor.CopyFrom(constant.integers[name])
        tensor.name = f"{label}_{len(names)}"
        names.append(tensor.name)
    dequantize = helper.make_node("DequantizeLinear", names, [f"{label}_rounded"])
    dequantize.attribute.extend(constant.maker.attribute)
    return [dequantize]


def _rounding(graph: onnx.GraphProto, gate: Gate, tensor: TensorPlan, label: str) -> list[onnx.NodeProto]:
    affine = Affine.of_range(tensor.low, tensor.high, tensor.dtype, symmetric=gate.symmetric)
    graph.initializer.append(numpy_helper.from_array(affine.scale, f"{label}_scale"))
    graph.initializer.append(numpy_helper.from_array(affine.zero, f"{label}_zero"))
    grid = [f"{label}_scale", f"{label}_zero"]
    return [
        helper.make_node("QuantizeLinear", [tensor.name, *grid], [f"{label}_q"]),
        helper.make_node("DequantizeLinear", [f"{label}_q", *grid], [f"{label}_dq"]),
    ]


def _insert(graph: onnx.GraphProto, added: Mapping[str, list[onnx.NodeProto]]) -> None:
    """Put what rounds a tensor behind the node that makes it; if none does, to the front."""
    made = {name for node in graph.node for name in node.output}
    ordered = [node for name, nodes in added.items() if name not in made for node in nodes]
    for node in graph.node:
        ordered.append(node)
        for name in node.output:
            ordered += added.get(name, [])
    del graph.node[:]
    graph.node.extend(ordered)
