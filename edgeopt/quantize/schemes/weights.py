"""Weights alone as blocks of 8 or 4 bits, for models that are limited by reading them: language models, token by token.

Before: x → MatMul (w, float32 [k, n]) → y
After:  x → MatMulNBits (w as n × k/block blocks of integers, a scale and perhaps a zero point for each block) → y

and, for embedding tables, Gather → GatherBlockQuantized. Both are onnxruntime's own operators (domain com.microsoft). Who
chooses the integers:

- ``rtn``, by onnxruntime: round to nearest, the range of each block its extremes.
- ``hqq``, by onnxruntime: zero points in floating point, chosen so that the large errors become few (Badri & Shaji, https://mobiusml.github.io/hqq_blog).
- ``gptq``: error feedback by the inputs' second moments on the calibration data (see `gptq`).
"""

from __future__ import annotations

from typing import Any

import onnx
from onnx import helper, numpy_helper

from edgeopt.errors import RecipeError
from edgeopt.graph import onnx_file
from edgeopt.graph.index import GraphIndex, attribute, remove_unused_constants
from edgeopt.quantize.algorithms.gptq import quantize_blocks, second_moments
from edgeopt.quantize.apply.embedding import shrink_embeddings
from edgeopt.quantize.apply.quiet import quiet
from edgeopt.quantize.config import WeightOptions
from edgeopt.quantize.plan.cause import Cause
from edgeopt.quantize.plan.plan import Decision, NodePlan, Precision
from edgeopt.quantize.schemes.converted import Converted, Request, uniform
from edgeopt.quantize.schemes.gemms import split_gemms
from edgeopt.quantize.schemes.pack import matmul_nbits

_SMALLEST = 1 << 12  # elements of a matrix from which on it pays
_METHODS = {
    "rtn": "each weight to the nearest point of its block's grid",
    "hqq": "zero points in floating point make large errors few",
    "gptq": "later weights take over the errors of earlier ones, by the inputs' second moments",
}


def convert(request: Request) -> Converted:
    """Return the model with its large constant matrices as blocks of integers."""
    options, bits = request.config.weights, 8 if request.config.scheme == "weights-int8" else 4
    _check(options, bits)
    model = onnx_file.copy_of(request.prepared.model)
    split = split_gemms(model.graph, request.excluded, smallest=_SMALLEST)
    index = GraphIndex(model.graph)
    plans = [_plan(node, request, index, bits) for node in model.graph.node if node.op_type in {"MatMul", "Gemm"}]
    chosen = [plan.name for plan in plans if plan.precision != "float"]
    samples = 0
    if chosen:
        model, samples = _quantized(model, chosen, request, bits)
    tables = _shrink(model, options) if chosen and request.config.embeddings else 0
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


def _plan(node: onnx.NodeProto, request: Request, index: GraphIndex, bits: int) -> NodePlan:
    weight = index.initializers.get(node.input[1])
    cause = Cause.WEIGHTS_ALONE
    if node.name in request.excluded:
        cause = request.excluded[node.name].cause
    elif weight is None:
        cause = Cause.TWO_ACTIVATIONS
    elif node.op_type == "Gemm" or len(weight.dims) != 2 or not index.is_float(node.input[1]):
        cause = Cause.NO_LARGE_MATRIX
    elif weight.dims[0] * weight.dims[1] < _SMALLEST:
        cause = Cause.SMALL
    kind: Precision = "float" if cause is not Cause.WEIGHTS_ALONE else "int8" if bits == 8 else "int4"
    return NodePlan(node.name, node.op_type, kind, "float", cause)


def _quantizers() -> Any:
    """Return onnxruntime's module; it sets up the root logger when it is imported."""
    with quiet():
        from onnxruntime.quantization import matmul_nbits_quantizer
    return matmul_nbits_quantizer


def _quantized(model: onnx.ModelProto, chosen: list[str], request: Request, bits: int) -> tuple[onnx.ModelProto, int]:
    """Quantize the nodes called `chosen`; return the model and how many samples that took."""
    options = request.config.weights
    if options.method == "gptq":
        samples = _error_feedback(model, set(chosen), request, bits)
    else:
        model, samples = _by_onnxruntime(model, set(chosen), options, bits), 0
    for node in model.graph.node:
        if node.op_type == "MatMulNBits":
            node.name = node.name.removesuffix(f"_Q{bits}")
            if options.accuracy_level and attribute(node, "accuracy_level") is None:
                node.attribute.append(helper.make_attribute("accuracy_level", options.accuracy_level))
    onnx_file.import_own_operators(model)
    remove_unused_constants(model.graph)
    return model, samples


def _by_onnxruntime(model: onnx.ModelProto, chosen: set[str], options: WeightOptions, bits: int) -> onnx.ModelProto:
    ort = _quantizers()
    config = ort.HQQWeightOnlyQuantConfig(block_size=options.block_size, bits=bits) if options.method == "hqq" else None
    skipped = [node.name for node in model.graph.node if node.op_type == "MatMul" and node.name not in chosen]
    with quiet():
        quantizer = ort.MatMulNBitsQuantizer(
            model, bits, options.block_size, options.symmetric, None, nodes_to_exclude=skipped, algo_config=config
        )
        quantizer.process()
    made: onnx.ModelProto = quantizer.model.model
    return made


def _error_feedback(model: onnx.ModelProto, chosen: set[str], request: Request, bits: int) -> int:
    """Quantize by GPTQ, in place; return how many samples were looked at."""
    options, graph = request.config.weights, model.graph
    index = GraphIndex(graph)
    nodes = {node.name: node for node in graph.node if node.name in chosen}
    sizes = {node.input[0]: index.initializers[node.input[1]].dims[0] for node in nodes.values()}
    seen = 0
    source = onnx_file.copy_of(model)
    moments = second_moments(source, sizes, request.calibration, request.prepared.signature, threads=request.config.threads)
    for tensor, inner, samples in moments:
        seen = samples
        for node in [node for node in nodes.values() if node.input[0] == tensor]:
            weight = numpy_helper.to_array(index.initializers[node.input[1]])
            kind: dict[str, Any] = {"bits": bits, "block": options.block_size, "symmetric": options.symmetric}
            made, constants = matmul_nbits(node, quantize_blocks(weight, inner, **kind), **kind)
            node.CopyFrom(made)
            graph.initializer.extend(constants)
    return seen


def _shrink(model: onnx.ModelProto, options: WeightOptions) -> int:
    """Store the embedding tables as integers, in place; return how many."""
    if options.embedding_bits == 8:
        return shrink_embeddings(model)
    index = GraphIndex(model.graph)
    tables = {node.input[0] for node in model.graph.node if node.op_type == "Gather" and _is_table(node, index)}
    kept = [node.name for node in model.graph.node if node.op_type == "Gather" and node.input[0] not in tables]
    if not tables:
        return 0
    ort = _quantizers()
    with quiet():
        kinds = {"op_types_to_quantize": ("Gather",), "quant_axes": (("Gather", 1),)}
        ort.MatMulNBitsQuantizer(model, 4, options.block_size, options.symmetric, nodes_to_exclude=kept, **kinds).process()
    remove_unused_constants(model.graph)
    return len(tables)


def _is_table(node: onnx.NodeProto, index: GraphIndex) -> bool:
    """Tell whether a Gather reads rows of a large table that only Gathers along axis 0 read."""
    tensor = index.initializers.get(node.input[0])
    if tensor is None or tensor.data_type != onnx.TensorProto.FLOAT or len(tensor.dims) != 2:
        return False
    readers = index.consumers[node.input[0]]
    whole = all(reader.op_type == "Gather" and attribute(reader, "axis", 0) == 0 for reader in readers)
    return whole and tensor.dims[0] * tensor.dims[1] >= _SMALLEST and node.input[0] not in index.captured | index.outputs
