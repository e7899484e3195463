"""Dynamic int8: weights rounded once, activations at run time, each time to the range they have then.

Before: x → MatMul (w) → y
After:  x → DynamicQuantizeLinear → MatMulInteger (w, int8) → Cast → Mul (scales) → y      (fused again by onnxruntime)

LSTM becomes DynamicQuantizeLSTM (`lstm.py`).

No calibration, no clipping, good for text models whose activations vary; slower than static int8, and convolutions do not gain
(onnxruntime's ConvInteger is slower than its float Conv on most CPUs), so they stay in floating point.

onnxruntime's quantizer does the rest of the work, kept to the MatMul and Gemm nodes with constant weights: its default list
holds "Attention" for the contrib operator of that name, and turns the standard Attention of operator sets 23 and 24 into a
QAttention that does not load.
"""

from __future__ import annotations

import onnx
import onnx_ir as ir
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
from onnxruntime.quantization.quant_utils import QuantizationMode

from edgeopt.graph import files
from edgeopt.graph.editing import copied, remove_unused
from edgeopt.graph.matching import constant, is_float, name_of
from edgeopt.quantize.apply.embedding import shrink_embeddings
from edgeopt.quantize.apply.quiet import quiet
from edgeopt.quantize.plan.cause import Cause
from edgeopt.quantize.plan.plan import Decision, NodePlan, Plan, Precision
from edgeopt.quantize.schemes.gemms import split_gemms
from edgeopt.quantize.schemes.lstm import objection, quantize_lstms
from edgeopt.quantize.schemes.scheme import Converted, Request, uniform

_OPERATORS = {"MatMul", "Gemm", "LSTM"}

REWRITES = False


def draft(request: Request) -> Plan:
    """Return the plan, which is known when the model is converted."""
    return convert(request).plan(request)


def convert(request: Request) -> Converted:
    """Return the model with LSTMs and the products by constant matrices on integers, quantized dynamically."""
    model = copied(request.prepared.model)
    split_gemms(model, request.excluded)  # onnxruntime's quantizer does so, too, and then does not know their names
    plans = [_plan(node, request) for node in model.graph if node.op_type in _OPERATORS]
    chosen = [plan for plan in plans if plan.precision != "float"]
    products, recurrent = ([plan for plan in chosen if (plan.op == "LSTM") is wanted] for wanted in (False, True))
    if products:
        model = _quantized(model, products)
    quantize_lstms(model, {plan.name for plan in recurrent})
    tables = shrink_embeddings(model) if request.config.embeddings and chosen else 0
    kinds = "matrix products and LSTMs" if recurrent else "matrix products"
    decisions = [Decision("placement", f"{len(chosen)} of {len(plans)} {kinds}", "those by constant matrices")]
    if tables:
        decisions.append(Decision("embeddings", f"{tables} tables as int8 rows", "a quarter of their size"))
    warnings = () if chosen else ("no matrix product by a constant: the model was written as it was",)
    return Converted(model, uniform("dynamic uint8", "int8", per_channel=True), tuple(plans), tuple(decisions), warnings)


def _plan(node: ir.Node, request: Request) -> NodePlan:
    cause = Cause.AT_RUN_TIME
    weight = constant(node.inputs[1])
    if node.name in request.excluded:
        cause = request.excluded[name_of(node)].cause
    elif node.op_type == "LSTM":
        cause = objection(node) or cause
    elif weight is None or not is_float(node.inputs[1]):
        cause = Cause.TWO_ACTIVATIONS
    elif len(weight.shape) != 2:
        cause = Cause.NO_MATRIX
    elif node.op_type == "Gemm":
        cause = Cause.SCALED_GEMM
    kind: Precision = "int8" if cause is Cause.AT_RUN_TIME else "float"
    return NodePlan(name_of(node), node.op_type, kind, "float", cause)


def _quantized(model: ir.Model, chosen: list[NodePlan]) -> ir.Model:
    """Return what onnxruntime's quantizer makes of the model; it works on protobuf."""
    proto = ir.to_proto(model)
    proto.metadata_props.add(key="onnx.infer", value="onnxruntime.quant")  # or it saves and loads the model to infer types
    with quiet():
        quantizer = ONNXQuantizer(
            proto,
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
        quantized: onnx.ModelProto = quantizer.quantize_model()
    made = files.from_proto(quantized)
    made.producer_name, made.producer_version = model.producer_name, model.producer_version
    made.metadata_props.clear()
    made.metadata_props.update(model.metadata_props)
    remove_unused(made)
    return made
