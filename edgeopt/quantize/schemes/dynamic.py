"""Dynamic int8: weights rounded once, activations at run time, each time to the range they have then.

Products by constant matrices become MatMulInteger (`integer_products.py`), a plain Gemm after it is split into product and
sum; LSTM becomes DynamicQuantizeLSTM (`lstm.py`).

No calibration, no clipping, good for text models whose activations vary; slower than static int8, and convolutions do not gain
(onnxruntime's ConvInteger is slower than its float Conv on most CPUs), so they stay in floating point.
"""

from __future__ import annotations

import onnx_ir as ir

from edgeopt.graph.editing import copied
from edgeopt.graph.matching import constant, is_float, name_of
from edgeopt.quantize.apply.embedding import shrink_embeddings
from edgeopt.quantize.plan.cause import Cause
from edgeopt.quantize.plan.plan import Decision, NodePlan, Plan, Precision
from edgeopt.quantize.schemes.gemms import split_gemms
from edgeopt.quantize.schemes.integer_products import quantize_products
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
    split_gemms(model, request.excluded)
    plans = [_plan(node, request) for node in model.graph if node.op_type in _OPERATORS]
    chosen = [plan for plan in plans if plan.precision != "float"]
    products, recurrent = ([plan for plan in chosen if (plan.op == "LSTM") is wanted] for wanted in (False, True))
    quantize_products(model, {plan.name for plan in products})
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
    elif weight.dtype is not ir.DataType.FLOAT:
        cause = Cause.NO_KERNEL
    elif len(weight.shape) != 2:
        cause = Cause.NO_MATRIX
    elif node.op_type == "Gemm":
        cause = Cause.SCALED_GEMM
    kind: Precision = "int8" if cause is Cause.AT_RUN_TIME else "float"
    return NodePlan(name_of(node), node.op_type, kind, "float", cause)
