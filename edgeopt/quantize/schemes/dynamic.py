"""Dynamic int8: weights rounded once, activations at run time, each time to the range they have then.

Before: x → MatMul (w) → y
After:  x → DynamicQuantizeLinear → MatMulInteger (w, int8) → Cast → Mul (scales) → y      (fused again by onnxruntime)

No calibration, no clipping, good for text models whose activations vary; slower than static int8, and convolutions do not gain
(onnxruntime's ConvInteger is slower than its float Conv on most CPUs), so they stay in floating point.

onnxruntime's quantizer does the work, kept to the MatMul and Gemm nodes with constant weights: its default list holds
"Attention" for its own operator of that name, and turns the standard Attention of operator sets 23 and 24 into a QAttention
that does not load.
"""

from __future__ import annotations

import onnx
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
from onnxruntime.quantization.quant_utils import QuantizationMode

from edgeopt.graph import onnx_file
from edgeopt.graph.index import GraphIndex, remove_unused_constants
from edgeopt.quantize.apply.embedding import shrink_embeddings
from edgeopt.quantize.apply.quiet import quiet
from edgeopt.quantize.plan.cause import Cause
from edgeopt.quantize.plan.plan import Decision, NodePlan, Precision
from edgeopt.quantize.schemes.converted import Converted, Request, uniform
from edgeopt.quantize.schemes.gemms import split_gemms

_OPERATORS = {"MatMul", "Gemm"}


def convert(request: Request) -> Converted:
    """Return the model with the products by constant matrices on integers, quantized dynamically."""
    model = onnx_file.copy_of(request.prepared.model)
    split_gemms(model.graph, request.excluded)  # onnxruntime's quantizer does so, too, and then does not know their names
    index = GraphIndex(model.graph)
    plans = [_plan(node, request, index) for node in model.graph.node if node.op_type in _OPERATORS]
    chosen = [plan for plan in plans if plan.precision != "float"]
    if chosen:
        model = _quantized(model, chosen)
    tables = shrink_embeddings(model) if request.config.embeddings and chosen else 0
    decisions = [Decision("placement", f"{len(chosen)} of {len(plans)} matrix products", "those by constant matrices")]
    if tables:
        decisions.append(Decision("embeddings", f"{tables} tables as int8 rows", "a quarter of their size"))
    warnings = () if chosen else ("no matrix product by a constant: the model was written as it was",)
    return Converted(model, uniform("dynamic uint8", "int8", per_channel=True), tuple(plans), tuple(decisions), warnings)


def _plan(node: onnx.NodeProto, request: Request, index: GraphIndex) -> NodePlan:
    cause = Cause.AT_RUN_TIME
    if node.name in request.excluded:
        cause = request.excluded[node.name].cause
    elif not index.is_float(node.input[1]) or node.input[1] not in index.initializers:
        cause = Cause.TWO_ACTIVATIONS
    elif len(index.initializers[node.input[1]].dims) != 2:
        cause = Cause.NO_MATRIX
    elif node.op_type == "Gemm":
        cause = Cause.SCALED_GEMM
    kind: Precision = "int8" if cause is Cause.AT_RUN_TIME else "float"
    return NodePlan(node.name, node.op_type, kind, "float", cause)


def _quantized(model: onnx.ModelProto, chosen: list[NodePlan]) -> onnx.ModelProto:
    properties = list(model.metadata_props)
    model.metadata_props.add(key="onnx.infer", value="onnxruntime.quant")  # or it saves and loads the model to infer types
    with quiet():
        quantizer = ONNXQuantizer(
            model,
            True,  # a scale for each output channel
            False,
            QuantizationMode.IntegerOps,
            False,
            QuantType.QInt8,
            QuantType.QUInt8,
            None,
            [plan.name for plan in chosen],
            [],
            ["MatMul"],
            {"MatMulConstBOnly": True},
        )
        made: onnx.ModelProto = quantizer.quantize_model()
    made.producer_name, made.producer_version = model.producer_name, model.producer_version
    del made.metadata_props[:]
    made.metadata_props.extend(properties)
    remove_unused_constants(made.graph)
    return made
