"""Signal-to-quantization-noise ratio, tensor by tensor: where float and quantized model part from each other.

The quantized model runs unoptimised, so that each tensor still exists, and errors accumulate from
layer to layer, as they do when it runs.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx
from onnx import helper

from edgeopt.batches import Batch
from edgeopt.graph import onnx_file
from edgeopt.graph.index import GraphIndex
from edgeopt.graph.outputs import open_exposed, run
from edgeopt.quantize.plan.plan import Plan
from edgeopt.quantize.result import LayerNoise
from edgeopt.quantize.sqnr import CEILING_DB, Noise


def layer_noise(
    model: onnx.ModelProto, quantized: onnx.ModelProto, plan: Plan, batches: Iterable[Batch], *, threads: int
) -> tuple[LayerNoise, ...]:
    """Return the SQNR at the output of every integer node and at the model's outputs, in the graph's order."""
    quantized = all_dequantized(quantized)
    watched = _watched(model, quantized, plan)
    originals = list(dict.fromkeys(original for _, _, original, _ in watched))
    rounded = list(dict.fromkeys(there for _, _, _, there in watched))
    before = open_exposed(model, originals, threads=threads, arena=False)
    after = open_exposed(quantized, rounded, threads=threads, optimize=False, arena=False)
    noise = {name: Noise() for name in originals}
    pairs = {original: there for _, _, original, there in watched}
    for number, batch in enumerate(batches):
        expected = run(before, originals, batch, sample=number)
        got = run(after, rounded, batch, sample=number)
        for name, there in pairs.items():
            noise[name].add(expected[name], got[there])
    return tuple(LayerNoise(name, op, noise[tensor].db) for name, op, tensor, _ in watched)


def _watched(model: onnx.ModelProto, quantized: onnx.ModelProto, plan: Plan) -> list[tuple[str, str, str, str]]:
    """Return (node, operator, tensor in the float model, the same after rounding), one a node; outputs of the model last."""
    there = GraphIndex(quantized.graph)
    here = GraphIndex(model.graph)
    integer = {node.name for node in plan.integer_nodes}
    rounded = rounded_forms(quantized)
    watched = []
    for node in model.graph.node:
        name = node.output[0]
        if node.name in integer and name in there.producer and here.is_float(name):
            watched.append((node.name, node.op_type, name, rounded.get(name, name)))
    watched += [(value.name, "output", value.name, value.name) for value in model.graph.output if here.is_float(value.name)]
    return watched


def output_noise(
    model: onnx.ModelProto, quantized: onnx.ModelProto, batches: Iterable[Batch], *, threads: int
) -> tuple[LayerNoise, ...]:
    """Return the SQNR of every floating-point output; inputs are given in the types that `quantized` wants."""
    index = GraphIndex(model.graph)
    names = [value.name for value in model.graph.output if index.is_float(value.name)]
    before, after = (open_exposed(item, threads=threads) for item in (model, quantized))
    types = {spec.name: spec.dtype for spec in onnx_file.signature(quantized).inputs}
    noise = {name: Noise() for name in names}
    for number, batch in enumerate(batches):
        given = {name: values.astype(types[name], copy=False) for name, values in batch.items()}
        expected, got = run(before, names, batch, sample=number), run(after, names, given, sample=number)
        for name in names:
            noise[name].add(expected[name], got[name])
    return tuple(LayerNoise(name, "output", noise[name].db) for name in names)


def outputs_db(model: onnx.ModelProto, quantized: onnx.ModelProto, batches: Iterable[Batch]) -> float:
    """Return the SQNR of the worst floating-point output; 150 dB if there is none."""
    return min((output.sqnr_db for output in output_noise(model, quantized, batches, threads=1)), default=CEILING_DB)


def all_dequantized(quantized: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy in which every rounded activation has its DequantizeLinear, to be looked at; if all have, no copy.

    Before: x → QuantizeLinear → MatMulIntegerToFloat        After: … and QuantizeLinear → DequantizeLinear, which nobody reads
    """
    index = GraphIndex(quantized.graph)
    missing = [node for node in quantized.graph.node if node.op_type == "QuantizeLinear" and not _is_dequantized(node, index)]
    if not missing:
        return quantized
    copy = onnx_file.copy_of(quantized)
    for node in missing:
        integers = node.output[0]
        copy.graph.node.add().CopyFrom(
            helper.make_node("DequantizeLinear", [integers, *node.input[1:]], [f"{integers}_dequantized"], domain=node.domain)
        )
    return copy


def _is_dequantized(quantize: onnx.NodeProto, index: GraphIndex) -> bool:
    return any(reader.op_type == "DequantizeLinear" for reader in index.consumers[quantize.output[0]])


def rounded_forms(quantized: onnx.ModelProto) -> dict[str, str]:
    """Return, by activation, the tensor that holds its rounded values."""
    index = GraphIndex(quantized.graph)
    return {_source(node, index): node.output[0] for node in quantized.graph.node if node.op_type == "DequantizeLinear"}


def _source(dequantize: onnx.NodeProto, index: GraphIndex) -> str:
    quantize = index.producer.get(dequantize.input[0])
    return quantize.input[0] if quantize is not None and quantize.op_type == "QuantizeLinear" else ""
