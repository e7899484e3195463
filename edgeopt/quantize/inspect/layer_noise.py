"""Signal-to-quantization-noise ratio, tensor by tensor: where float and quantized model diverge.

The quantized model runs unoptimised, so that each tensor still exists, and errors accumulate from
layer to layer, as they do when it runs.
"""

from __future__ import annotations

import onnx_ir as ir

from edgeopt.batches import Batch
from edgeopt.graph.editing import copied, fresh_name
from edgeopt.graph.matching import by_name, is_float, name_of
from edgeopt.graph.outputs import open_exposed, run
from edgeopt.quantize.compared_outputs import compared_outputs
from edgeopt.quantize.inspect.exact import ExactOutputs
from edgeopt.quantize.output_parts import PartsNoise
from edgeopt.quantize.plan.plan import Plan
from edgeopt.quantize.result import LayerNoise
from edgeopt.quantize.sqnr import Noise

_OUTPUT = "output"


def layer_noise(exact: ExactOutputs, quantized: ir.Model, plan: Plan) -> tuple[LayerNoise, ...]:
    """Return the SQNR at the output of every integer node, in the graph's order, and of the model's outputs."""
    model, quantized, threads = exact.model, all_dequantized(quantized), exact.threads
    watched = _watched(model, quantized, plan)
    originals = list(dict.fromkeys(original for _, _, original, _ in watched))
    rounded = list(dict.fromkeys(there for _, _, _, there in watched))
    before = open_exposed(model, originals, threads=threads, arena=False)
    after = open_exposed(quantized, rounded, threads=threads, optimize=False, arena=False)
    noise, outputs = {name: Noise() for name in originals}, PartsNoise(exact.parts)
    pairs = {original: there for _, _, original, there in watched}

    def add(number: int, batch: Batch) -> None:  # (a function, so that what one batch gave is gone before the next one runs)
        expected = run(before, originals, batch, sample=number)
        got = run(after, rounded, batch, sample=number)
        for name, there in pairs.items():
            noise[name].add(expected[name], got[there])
        outputs.add(expected, got)

    for number, batch in enumerate(exact.batches):
        add(number, batch)
    layers = [LayerNoise(name, op, noise[tensor].db) for name, op, tensor, _ in watched if op != _OUTPUT]
    return (*layers, *(LayerNoise(part.name, _OUTPUT, db) for part, db in outputs.db.items()))


def _watched(model: ir.Model, quantized: ir.Model, plan: Plan) -> list[tuple[str, str, str, str]]:
    """Return (node, operator, tensor in the float model, the same after rounding), one per node; outputs of the model last."""
    there = by_name(quantized.graph)
    integer = {node.name for node in plan.integer_nodes}
    rounded = rounded_forms(quantized)
    watched = []
    for node in model.graph:
        value = node.outputs[0]
        name = name_of(value)
        if node.name in integer and name in there and there[name].producer() is not None and is_float(value):
            watched.append((name_of(node), node.op_type, name, rounded.get(name, name)))
    watched += [(name, _OUTPUT, name, name) for name in compared_outputs(model.graph)]
    return watched


def all_dequantized(quantized: ir.Model) -> ir.Model:
    """Return a copy in which every rounded activation has its DequantizeLinear, to be looked at; if all have, no copy.

    Before: MatMulIntegerToFloat(QuantizeLinear(x))        After: … and DequantizeLinear(QuantizeLinear(x)), without a consumer
    """
    if all(_is_dequantized(node) for node in quantized.graph if node.op_type == "QuantizeLinear"):
        return quantized
    copy = copied(quantized)
    for node in [node for node in copy.graph if node.op_type == "QuantizeLinear" and not _is_dequantized(node)]:
        integers = node.outputs[0]
        made = ir.node("DequantizeLinear", [integers, *node.inputs[1:]], domain=node.domain)
        made.outputs[0].name = fresh_name(copy.graph, f"{integers.name}_dequantized")
        copy.graph.append(made)
    return copy


def _is_dequantized(quantize: ir.Node) -> bool:
    return any(reader.op_type == "DequantizeLinear" for reader in quantize.outputs[0].consumers())


def rounded_forms(quantized: ir.Model) -> dict[str, str]:
    """Return, by activation, the tensor that holds its rounded values."""
    return {_source(node): name_of(node.outputs[0]) for node in quantized.graph if node.op_type == "DequantizeLinear"}


def _source(dequantize: ir.Node) -> str:
    value = dequantize.inputs[0]
    quantize = value.producer() if value is not None else None
    return name_of(quantize.inputs[0]) if quantize is not None and quantize.op_type == "QuantizeLinear" else ""
