"""Weights alone as blocks of 8 or 4 bits, for models that are limited by reading them: language models, token by token.

Before: x → MatMul (w, float32 [k, n]) → y
After:  x → MatMulNBits (w as n × k/block blocks of integers, a scale and perhaps a zero point for each block) → y

and, for embedding tables, Gather → GatherBlockQuantized. Both are onnxruntime's contrib operators (domain com.microsoft). Who
chooses the integers:

- ``rtn``, by onnxruntime: round to nearest, the range of each block its extremes.
- ``hqq``, by onnxruntime: zero points in floating point, chosen so that the large errors become few (Badri & Shaji, https://mobiusml.github.io/hqq_blog).
- ``gptq``: error feedback by the inputs' second moments on the calibration data (see `gptq`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from edgeopt.errors import RecipeError
from edgeopt.graph import files
from edgeopt.graph.editing import copied, forget_names, import_contrib_operators, remove_unused
from edgeopt.graph.matching import array, constant, is_float, name_of
from edgeopt.quantize.algorithms.gptq import quantize_blocks, second_moments
from edgeopt.quantize.apply.embedding import is_table, shrink_embeddings
from edgeopt.quantize.apply.quiet import quiet
from edgeopt.quantize.config import WeightOptions
from edgeopt.quantize.plan.cause import Cause
from edgeopt.quantize.plan.plan import Decision, NodePlan, Plan, Precision
from edgeopt.quantize.schemes.gemms import split_gemms
from edgeopt.quantize.schemes.pack import pack_product
from edgeopt.quantize.schemes.scheme import Converted, Request, uniform

_SMALLEST = 1 << 12  # elements of a matrix from which on it pays
_METHODS = {
    "rtn": "each weight to the nearest point of its block's grid",
    "hqq": "zero points in floating point make large errors few",
    "gptq": "later weights take over the errors of earlier ones, by the inputs' second moments",
}


REWRITES = False


def draft(request: Request) -> Plan:
    """Return the plan, which is known when the model is converted."""
    return convert(request).plan(request)


def convert(request: Request) -> Converted:
    """Return the model with its large constant matrices as blocks of integers."""
    options, bits = request.config.weights, 8 if request.config.scheme == "weights-int8" else 4
    _check(options, bits)
    model = copied(request.prepared.model)
    split = split_gemms(model, request.excluded, smallest=_SMALLEST)
    plans = [_plan(node, request, bits) for node in model.graph if node.op_type in {"MatMul", "Gemm"}]
    chosen = [plan.name for plan in plans if plan.precision != "float"]
    samples = 0
    if chosen:
        model, samples = _quantized(model, chosen, request, bits)
    model, tables = _shrunk(model, options) if chosen and request.config.embeddings else (model, 0)
    kind = f"{bits} bits, blocks of {options.block_size}, {'symmetric' if options.symmetric else 'with zero points'}"
    decisions = [
        Decision("weights", f"{len(chosen)} of {len(plans)} matrices as {kind}", _METHODS[options.method]),
        Decision("kernels", *_kernels(options)),
    ]
    if split:
        decisions.append(Decision("Gemm", f"{split} nodes are a MatMul and an Add now", "MatMulNBits has no Gemm form"))
    if tables:
        decisions.append(Decision("embeddings", f"{tables} tables as int{options.embedding_bits}", "they are read row by row"))
    warnings = _warnings(options, bits) if chosen else ("no constant matrix is large enough: the model was written as it was",)
    scheme = uniform("float32", f"int{bits}", per_channel=True)
    return Converted(model, scheme, tuple(plans), tuple(decisions), warnings, samples)


def _check(options: WeightOptions, bits: int) -> None:
    if bits == 8 and options.method == "hqq":
        raise RecipeError('weights.method is "hqq", which is made for 4 bits; set "rtn" or "gptq"')
    if options.method == "hqq" and options.symmetric:
        raise RecipeError('weights.symmetric is true: "hqq" is made of zero points; set weights.symmetric = false')


def _warnings(options: WeightOptions, bits: int) -> tuple[str, ...]:
    """Warn of forms that onnxruntime's CPU provider computes slower than float32 (benchmarks/quantize/LANGUAGE_MODEL.md)."""
    if options.method == "hqq":
        return (
            "zero points in floating point have no fast kernel on CPUs: several times slower than float32; use rtn or gptq",
        )
    if bits == 8 and options.accuracy_level != 4:
        return (
            "8-bit blocks have no fast float32 kernel on CPUs: several times slower than float32; use weights-int4 or dynamic",
        )
    return ()


def _kernels(options: WeightOptions) -> tuple[str, str]:
    if options.accuracy_level == 4:
        return "MatMulNBits, activations rounded to int8 block by block", "weights.accuracy_level = 4: the faster kernel"
    return "MatMulNBits, computing in float32", f"weights.accuracy_level = {options.accuracy_level}"


def _plan(node: ir.Node, request: Request, bits: int) -> NodePlan:
    weight = constant(node.inputs[1])
    cause = Cause.WEIGHTS_ALONE
    if node.name in request.excluded:
        cause = request.excluded[name_of(node)].cause
    elif weight is None:
        cause = Cause.TWO_ACTIVATIONS
    elif node.op_type == "Gemm" or len(weight.shape) != 2 or not is_float(node.inputs[1]):
        cause = Cause.NO_LARGE_MATRIX
    elif weight.size < _SMALLEST:
        cause = Cause.SMALL
    kind: Precision = "float" if cause is not Cause.WEIGHTS_ALONE else "int8" if bits == 8 else "int4"
    return NodePlan(name_of(node), node.op_type, kind, "float", cause)


def _quantizers() -> Any:
    """Return onnxruntime's module; it sets up the root logger when it is imported."""
    with quiet():
        from onnxruntime.quantization import matmul_nbits_quantizer
    return matmul_nbits_quantizer


def _quantized(model: ir.Model, chosen: list[str], request: Request, bits: int) -> tuple[ir.Model, int]:
    """Quantize the nodes called `chosen`; return the model and how many samples that took."""
    options = request.config.weights
    if options.method == "gptq":
        samples = _error_feedback(model, set(chosen), request, bits)
    else:
        model, samples = _by_onnxruntime(model, set(chosen), options, bits), 0
    for node in model.graph:
        if node.op_type == "MatMulNBits":
            node.name = name_of(node).removesuffix(f"_Q{bits}")
            if options.accuracy_level and "accuracy_level" not in node.attributes:
                node.attributes["accuracy_level"] = ir.AttrInt64("accuracy_level", options.accuracy_level)
    import_contrib_operators(model)
    remove_unused(model)
    return model, samples


def _by_onnxruntime(model: ir.Model, chosen: set[str], options: WeightOptions, bits: int) -> ir.Model:
    """Return what onnxruntime's quantizer makes of the model; it works on protobuf."""
    ort = _quantizers()
    config = ort.HQQWeightOnlyQuantConfig(block_size=options.block_size, bits=bits) if options.method == "hqq" else None
    skipped = [node.name for node in model.graph if node.op_type == "MatMul" and node.name not in chosen]
    with quiet():
        quantizer = ort.MatMulNBitsQuantizer(
            ir.to_proto(model), bits, options.block_size, options.symmetric, None, nodes_to_exclude=skipped, algo_config=config
        )
        quantizer.process()
    made: onnx.ModelProto = quantizer.model.model
    return files.from_proto(made)


def _error_feedback(model: ir.Model, chosen: set[str], request: Request, bits: int) -> int:
    """Quantize by GPTQ, in place; return how many samples were looked at."""
    options, graph = request.config.weights, model.graph
    forget_names(graph)
    nodes: dict[str, list[ir.Node]] = {}
    for node in graph:
        if node.name in chosen:
            nodes.setdefault(name_of(node.inputs[0]), []).append(node)
    sizes = {name: np.asarray(array(readers[0].inputs[1])).shape[0] for name, readers in nodes.items()}
    seen = 0
    source = copied(model)
    moments = second_moments(source, sizes, request.samples, request.prepared.signature, threads=request.config.threads)
    for tensor, inner, samples in moments:
        seen = samples
        for node in nodes[tensor]:
            weight = np.asarray(array(node.inputs[1]))
            kind: dict[str, Any] = {"bits": bits, "block": options.block_size, "symmetric": options.symmetric}
            pack_product(graph, node, quantize_blocks(weight, inner, **kind), **kind)
    return seen


def _shrunk(model: ir.Model, options: WeightOptions) -> tuple[ir.Model, int]:
    """Return the model with its embedding tables as integers, and how many there are."""
    if options.embedding_bits == 8:
        return model, shrink_embeddings(model)
    graph = model.graph
    tables = {value for value in graph.initializers.values() if is_table(value, graph, smallest=_SMALLEST)}
    kept = [node.name for node in graph if node.op_type == "Gather" and node.inputs[0] not in tables]
    if not tables:
        return model, 0
    ort = _quantizers()
    kinds = {"op_types_to_quantize": ("Gather",), "quant_axes": (("Gather", 1),)}
    with quiet():
        quantizer = ort.MatMulNBitsQuantizer(
            ir.to_proto(model), 4, options.block_size, options.symmetric, nodes_to_exclude=kept, **kinds
        )
        quantizer.process()
    made = files.from_proto(quantizer.model.model)
    remove_unused(made)
    return made, len(tables)
