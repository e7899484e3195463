"""Sensitivity: the noise that each layer alone brings to the model's outputs.

One layer at a time is rounded, its input and its weights, while all others stay in floating point; the SQNR of the model's
outputs says how much it hurts. One session for all layers (see `gates.py`), one inference for each layer and sample.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from edgeopt.batches import Batch
from edgeopt.graph.matching import name_of, named_nodes
from edgeopt.quantize.apply.bias import rounded_layers
from edgeopt.quantize.apply.gates import Gate, Gated, Rounded
from edgeopt.quantize.plan.cause import Cause
from edgeopt.quantize.plan.plan import Plan
from edgeopt.quantize.result import LayerNoise


def sensitivity(
    model: ir.Model, quantized: ir.Model, plan: Plan, batches: Sequence[Batch], *, threads: int
) -> tuple[LayerNoise, ...]:
    """Return the SQNR at the model's floating-point outputs for every integer layer, or residual Add, alone, worst first.

    Args:
        model: prepared (and smoothed), floating point.
        quantized: its quantized form, whose rounded weights are tried.
        plan: the ranges of the inputs.
        batches: a few samples.
        threads: for inference.
    """
    gates = gates_of_layers(model, quantized, plan)
    noise = Gated(model, gates, batches, threads=threads).of_each()
    nodes = named_nodes(model.graph)
    found = [LayerNoise(gate.name, nodes[gate.name].op_type, noise[gate.name]) for gate in gates]
    return tuple(sorted(found, key=lambda layer: (layer.sqnr_db, layer.name)))


def gates_of_layers(model: ir.Model, quantized: ir.Model, plan: Plan) -> list[Gate]:
    """Return a gate for every integer layer and residual Add, called like its node; arguments as for `sensitivity`."""
    tensors = {tensor.name: tensor for tensor in plan.tensors}
    symmetric = plan.scheme.symmetric_activation
    gates = []
    for layer in rounded_layers(model, quantized):
        read, weight = layer.node.inputs[:2]
        rounded = Rounded(name_of(weight), layer.dequantize)
        gates.append(Gate(name_of(layer.node), tensors.get(name_of(read)), name_of(layer.node), rounded, symmetric))
    residual = [node for node in plan.integer_nodes if node.cause is Cause.RESIDUAL]
    return gates + [Gate(node.name, tensors.get(node.reads[0]), node.name, symmetric=symmetric) for node in residual]
