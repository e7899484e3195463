"""Sensitivity: the noise that each layer alone brings to the model's outputs.

One layer at a time is rounded, its input and its weights, while all others stay in floating point; the SQNR of the model's
outputs says how much it hurts. One session and a few samples a layer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgeopt import progress
from edgeopt.data.batches import Array, Batch
from edgeopt.quantize.graph.index import GraphIndex
from edgeopt.quantize.graph.outputs import open_exposed, run
from edgeopt.quantize.perform.bias import weighted_nodes
from edgeopt.quantize.perform.sqnr import LayerNoise, sqnr_db
from edgeopt.quantize.plan.plan import Plan, TensorPlan


def sensitivity(
    model: onnx.ModelProto, quantized: onnx.ModelProto, plan: Plan, batches: Sequence[Batch], *, threads: int
) -> tuple[LayerNoise, ...]:
    """Return the SQNR at the model's floating-point outputs for every integer layer alone, worst first.

    Args:
        model: prepared (and smoothed), floating point.
        quantized: its quantized form, whose rounded weights are tried.
        plan: the ranges of the inputs.
        batches: a few samples.
        threads: for inference.
    """
    index = GraphIndex(model.graph)
    outputs = [value.name for value in model.graph.output if index.is_float(value.name)]
    exact = _outputs(model, outputs, batches, threads)
    tensors = {tensor.name: tensor for tensor in plan.tensors}
    found = []
    layers = list(weighted_nodes(model, quantized))
    with progress.task("sensitivity", total=len(layers)) as advance:
        for node, _, rounded in layers:
            alone = _only(model, node, rounded.astype(np.float32), tensors.get(node.input[0]))
            got = _outputs(alone, outputs, batches, threads)
            signal = sum(float(np.square(x, dtype=np.float64).sum()) for x in exact)
            noise = sum(float(np.square(x - y, dtype=np.float64).sum()) for x, y in zip(exact, got, strict=True))
            found.append(LayerNoise(node.name, node.op_type, sqnr_db(signal, noise)))
            advance()
    return tuple(sorted(found, key=lambda layer: (layer.sqnr_db, layer.name)))


def _outputs(model: onnx.ModelProto, names: list[str], batches: Sequence[Batch], threads: int) -> list[Array]:
    session = open_exposed(model, threads=threads)
    runs = [run(session, names, batch, sample=number) for number, batch in enumerate(batches)]
    return [values[name] for values in runs for name in names]


def _only(model: onnx.ModelProto, node: onnx.NodeProto, weight: Array, tensor: TensorPlan | None) -> onnx.ModelProto:
    """Return the model with this node's weight rounded and a Q/DQ pair before its input."""
    alone = onnx.ModelProto()
    alone.CopyFrom(model)
    graph = alone.graph
    position = next(place for place, other in enumerate(graph.node) if other.name == node.name)
    copy = graph.node[position]
    graph.initializer.append(numpy_helper.from_array(weight, "sensitivity_weight"))
    copy.input[1] = "sensitivity_weight"
    if tensor is None or tensor.low == tensor.high:
        return alone
    info = np.iinfo(np.dtype(tensor.dtype))
    step = np.float32((tensor.high - tensor.low) / (int(info.max) - int(info.min)))
    zero = np.clip(np.round(info.min - tensor.low / step), info.min, info.max).astype(tensor.dtype)
    graph.initializer.append(numpy_helper.from_array(np.asarray(step), "sensitivity_scale"))
    graph.initializer.append(numpy_helper.from_array(np.asarray(zero), "sensitivity_zero"))
    grid = ["sensitivity_scale", "sensitivity_zero"]
    pair = [
        helper.make_node("QuantizeLinear", [copy.input[0], *grid], ["sensitivity_q"], "sensitivity_q"),
        helper.make_node("DequantizeLinear", ["sensitivity_q", *grid], ["sensitivity_dq"], "sensitivity_dq"),
    ]
    copy.input[0] = "sensitivity_dq"
    for item in reversed(pair):
        graph.node.insert(position, item)
    return alone
