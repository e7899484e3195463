"""Sensitivity: the noise that each layer alone brings to the model's outputs.

One layer at a time is rounded, its input and its weights, while all others stay in floating point; the SQNR of the model's
outputs says how much it hurts. One session for all layers (see `gates.py`), one inference for each layer and sample.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from edgeopt.batches import Batch
from edgeopt.graph.index import GraphIndex
from edgeopt.quantize.apply.bias import weight_makers
from edgeopt.quantize.apply.gates import Gate, Gated, Rounded
from edgeopt.quantize.plan.plan import Plan
from edgeopt.quantize.result import LayerNoise


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
    tensors = {tensor.name: tensor for tensor in plan.tensors}
    integers = GraphIndex(quantized.graph).initializers
    symmetric = plan.scheme.symmetric_activation
    layers = list(weight_makers(model, quantized))
    gates = [
        Gate(node.name, tensors.get(node.input[0]), node.name, Rounded(node.input[1], maker, integers), symmetric)
        for node, maker in layers
    ]
    noise = Gated(model, gates, batches, threads=threads).of_each()
    found = [LayerNoise(node.name, node.op_type, noise[node.name]) for node, _ in layers]
    return tuple(sorted(found, key=lambda layer: (layer.sqnr_db, layer.name)))
