"""Round one thing at a time: a model whose roundings are switched on and off by inputs, so that one session serves them all.

Before: x → MatMul (W) → y
After:  x → Q → DQ ─┐
        x ──────────┴ Where (gate) → MatMul (Where (gate, DQ (W's integers), W)) → y

With one gate open, the change of the outputs is what that rounding alone does. Rounded weights stay integers, which onnxruntime
does not fold, so that a large model is not held twice.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from edgeopt import progress
from edgeopt.data.batches import Array, Batch
from edgeopt.models import onnx_file
from edgeopt.quantize.graph.index import GraphIndex, rename_input
from edgeopt.quantize.graph.outputs import open_exposed, run
from edgeopt.quantize.perform.sqnr import sqnr_db
from edgeopt.quantize.plan.plan import TensorPlan
from edgeopt.targets.session import SessionConfig, large_config, open_session


@dataclass(frozen=True)
class Rounded:
    """A constant, and the DequantizeLinear that makes its rounded values from `integers`, tensors by name."""

    name: str
    maker: onnx.NodeProto
    integers: Mapping[str, TensorProto]


@dataclass(frozen=True)
class Gate:
    """What is rounded together: an activation, for one of its readers or (None) for all, and perhaps a constant."""

    name: str
    tensor: TensorPlan | None
    reader: str | None = None
    constant: Rounded | None = None
    """A constant of the reader's."""


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
        signal = noise = 0.0
        for number, exact in enumerate(self._exact):
            got = self._run(number, opened)
            for name, values in exact.items():
                signal += float(np.square(values, dtype=np.float64).sum())
                noise += float(np.square(values - got[name], dtype=np.float64).sum())
        return sqnr_db(signal, noise)

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
    with tempfile.TemporaryDirectory(prefix="edgeopt-") as folder:
        path, _ = onnx_file.write_for_now(_gated(model, gates), Path(folder) / "model.onnx")
        return open_session(path, config=large_config(model, SessionConfig(threads=threads, arena=False)))


def _gated(model: onnx.ModelProto, gates: Sequence[Gate]) -> onnx.ModelProto:
    copy = onnx_file.copy_of(model)
    graph = copy.graph
    added: dict[str, list[onnx.NodeProto]] = {}
    """By the node before which they stand; "" for the front."""
    for number, gate in enumerate(gates):
        label = _label(number)
        graph.input.append(helper.make_tensor_value_info(label, TensorProto.BOOL, []))
        readers = [node for node in graph.node if node.name == gate.reader] if gate.reader else list(graph.node)
        if gate.constant is not None:
            added.setdefault("", []).extend(_rounded(graph, gate.constant, label))
            for node in readers:
                rename_input(node, gate.constant.name, f"{label}_weight")
        if gate.tensor is not None and gate.tensor.low < gate.tensor.high:
            nodes = _rounding(graph, gate.tensor, label)
            for node in readers:
                rename_input(node, gate.tensor.name, nodes[-1].output[0])
            added.setdefault(gate.tensor.name, []).extend(nodes)
    _insert(graph, added)
    return copy


def _rounded(graph: onnx.GraphProto, constant: Rounded, label: str) -> list[onnx.NodeProto]:
    names: list[str] = []
    for name in constant.maker.input:
        tensor = graph.initializer.add()
        tensor.CopyFrom(constant.integers[name])
        tensor.name = f"{label}_{len(names)}"
        names.append(tensor.name)
    dequantize = helper.make_node("DequantizeLinear", names, [f"{label}_rounded"])
    dequantize.attribute.extend(constant.maker.attribute)
    return [dequantize, helper.make_node("Where", [label, f"{label}_rounded", constant.name], [f"{label}_weight"])]


def _rounding(graph: onnx.GraphProto, tensor: TensorPlan, label: str) -> list[onnx.NodeProto]:
    info = np.iinfo(np.dtype(tensor.dtype))
    step = np.float32((tensor.high - tensor.low) / (int(info.max) - int(info.min)))
    zero = np.clip(np.round(info.min - tensor.low / step), info.min, info.max).astype(tensor.dtype)
    graph.initializer.append(numpy_helper.from_array(np.asarray(step), f"{label}_scale"))
    graph.initializer.append(numpy_helper.from_array(np.asarray(zero), f"{label}_zero"))
    grid = [f"{label}_scale", f"{label}_zero"]
    return [
        helper.make_node("QuantizeLinear", [tensor.name, *grid], [f"{label}_q"]),
        helper.make_node("DequantizeLinear", [f"{label}_q", *grid], [f"{label}_dq"]),
        helper.make_node("Where", [label, f"{label}_dq", tensor.name], [f"{label}_activation"]),
    ]


def _insert(graph: onnx.GraphProto, added: Mapping[str, list[onnx.NodeProto]]) -> None:
    """Put what rounds a tensor behind the node that makes it, and the rest to the front."""
    made = {name for node in graph.node for name in node.output}
    ordered = [node for name, nodes in added.items() if name not in made for node in nodes]
    for node in graph.node:
        ordered.append(node)
        for name in node.output:
            ordered += added.get(name, [])
    del graph.node[:]
    graph.node.extend(ordered)
