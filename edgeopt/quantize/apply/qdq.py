"""Carry a plan out: QuantizeLinear/DequantizeLinear pairs put in by onnxruntime's quantizer, with the plan's ranges.

The quantizer rounds every input and output of the nodes it is given, and makes every reader of a rounded tensor read the
rounded value. Two things are then put right:

Before: LayerNorm → x → Q → DQ → MatMul           After: LayerNorm → x → Q → DQ → MatMul
                              ↘ Add (residual)                         ↘ Add (reads x itself)
Before: MatMul → y → Q → DQ → Gelu                After: MatMul → y → Gelu
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import helper
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.calibrate import TensorData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.tensor_quant_overrides import TensorQuantOverridesHelper

from edgeopt.errors import InternalError
from edgeopt.graph import onnx_file
from edgeopt.graph.index import GraphIndex, attribute, remove_unused_constants, rename_input
from edgeopt.graph.onnx_file import opset_of
from edgeopt.graph.order import sort_nodes
from edgeopt.quantize.apply.quiet import quiet
from edgeopt.quantize.plan.eligible import WEIGHTED
from edgeopt.quantize.plan.placement import rounded_tensors
from edgeopt.quantize.plan.plan import NodePlan, Plan

_WIDE_OPSET = 21  # before it, only onnxruntime's own QuantizeLinear has 16 bits
_NORMS = {"BatchNormalization", "InstanceNormalization", "LayerNormalization"}
_REQUANTIZED = {"Conv", "ConvTranspose", "Gemm"}
_TYPES = {
    "int8": QuantType.QInt8,
    "uint8": QuantType.QUInt8,
    "int16": QuantType.QInt16,
    "uint16": QuantType.QUInt16,
}


def insert_qdq(model: onnx.ModelProto, plan: Plan) -> onnx.ModelProto:
    """Return the quantized form of `model`.

    Args:
        model: prepared, floating point; spent afterwards, since a copy of all weights may be too much.
        plan: ranges for every tensor its integer nodes read.
    """
    properties, producer = list(model.metadata_props), (model.producer_name, model.producer_version)
    integer = {node.name for node in plan.integer_nodes}
    if not integer:
        return model
    _mark_inferred(model)
    outputs = _passed_through(model.graph)
    with quiet():
        quantizer = QDQQuantizer(
            model,
            plan.scheme.per_channel,
            False,
            _TYPES[plan.scheme.weight],
            _TYPES[plan.scheme.activation],
            _ranges(model, plan),
            sorted(integer),
            [],
            sorted({node.op for node in plan.integer_nodes}),
            _options(model, plan),
        )
        made = quantizer.quantize_model()
    del made.metadata_props[:]
    made.metadata_props.extend(properties)
    made.producer_name, made.producer_version = producer
    for position, value in outputs.items():
        made.graph.output.insert(position, value)
    _read_floats(made.graph, plan)
    _guard_floats(made.graph, integer)
    remove_unused_constants(made.graph)
    sort_nodes(made.graph)
    return onnx_file.copy_of(made)  # without the floating-point weights that were removed


def _passed_through(graph: onnx.GraphProto) -> dict[int, onnx.ValueInfoProto]:
    """Take the outputs that are inputs out of the graph, since the quantizer would name another tensor so.

    Returns them by their position.
    """
    given = {value.name for value in graph.input}
    found = {position: value for position, value in enumerate(graph.output) if value.name in given}
    others = [value for position, value in enumerate(graph.output) if position not in found]
    del graph.output[:]
    graph.output.extend(others)
    return found


def _options(model: onnx.ModelProto, plan: Plan) -> dict[str, object]:
    nodes = model.graph.node
    exceptions = _wide_tensors(model, plan)
    reduced = _reduced(plan)
    integer = {node.name for node in plan.integer_nodes}
    weights: dict[str, object] = {
        node.input[1]: [{"quant_type": _TYPES[plan.scheme.weight]}]
        for node in nodes
        if node.name in integer and plan.scheme.per_channel and node.op_type in WEIGHTED and not _axis(node, plan)
    }
    weights |= {
        node.input[1]: [{"quant_type": _TYPES[plan.scheme.norm_weight], "symmetric": False}]
        for node in nodes
        if node.name in integer and node.op_type in _NORMS and plan.scheme.norm_weight != plan.scheme.weight
    }
    weights |= {node.input[1]: [{"reduce_range": True, **_axis(node, plan)}] for node in nodes if node.name in reduced}
    return {
        "ActivationSymmetric": plan.scheme.symmetric_activation,
        "WeightSymmetric": plan.scheme.symmetric_weight,
        "TensorQuantOverrides": {**exceptions, **weights},
        "ForceQuantizeNoInputCheck": True,
        "UseQDQContribOps": bool(exceptions) and opset_of(model) < _WIDE_OPSET,
        "QuantizeBias": plan.scheme.bias == "int32",
    }


def _wide_tensors(model: onnx.ModelProto, plan: Plan) -> dict[str, Any]:
    """Return onnxruntime's overrides for activations of another type, and for what must then be of that type, too."""
    overrides: dict[str, Any] = {
        tensor.name: [{"quant_type": _TYPES[tensor.dtype]}] for tensor in plan.tensors if tensor.dtype != plan.scheme.activation
    }
    if not overrides:
        return {}
    # Its package imports torch, a second and 200 MB that nothing else here needs.
    from onnxruntime.quantization.execution_providers.qnn.mixed_precision_overrides_utils import (
        MixedPrecisionTensorQuantOverridesFixer,
    )

    default = _TYPES[plan.scheme.activation]
    held = TensorQuantOverridesHelper(overrides)
    index = GraphIndex(model.graph)
    infos = {value.name: value for value in (*model.graph.value_info, *model.graph.output, *model.graph.input)}
    fixer = MixedPrecisionTensorQuantOverridesFixer(held, index.producer, dict(index.consumers), infos, index.initializers)
    fixer.apply(default, plan.scheme.symmetric_activation)
    fixed: dict[str, Any] = held.get_dict()
    return fixed


def _reduced(plan: Plan) -> set[str]:
    return {node.name for node in plan.integer_nodes if node.reduce_range}


def _axis(node: onnx.NodeProto, plan: Plan) -> dict[str, int]:
    """Return the axis of the output channels of a node's weight, where each has a scale of its own.

    A grouped ConvTranspose has [in, out / groups, …]: the axis holds one channel of each group, its bias all of them.
    """
    if not plan.scheme.per_channel or node.op_type not in plan.scheme.per_channel_ops:
        return {}
    if node.op_type == "ConvTranspose" and attribute(node, "group", 1) > 1:
        return {}
    transposed = node.op_type == "Conv" or bool(attribute(node, "transB", 0))
    return {"axis": 0 if transposed else 1}


def _ranges(model: onnx.ModelProto, plan: Plan) -> dict[str, TensorData]:
    """Return the plan's ranges; what a float output would be rounded to does not matter, since that pair goes again."""
    ranges = {
        tensor.name: TensorData(lowest=np.float32(tensor.low), highest=np.float32(tensor.high)) for tensor in plan.tensors
    }
    missing = next((name for name in rounded_tensors(model, plan.nodes) if name not in ranges), None)
    if missing is not None:
        raise InternalError(f"the plan rounds the tensor '{missing}' and has no range for it; please report it with the model")
    integer = {node.name for node in plan.integer_nodes}
    constants = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.name in integer:
            for name in {*node.input, *node.output} - constants:
                ranges.setdefault(name, TensorData(lowest=np.float32(-1), highest=np.float32(1)))
    return ranges


def _mark_inferred(model: onnx.ModelProto) -> None:
    """Tell the quantizer that types are inferred, or it saves and loads the model again for that."""
    model.metadata_props.add(key="onnx.infer", value="onnxruntime.quant")


def _read_floats(graph: onnx.GraphProto, plan: Plan) -> None:
    """Let float nodes read float tensors, and remove the pairs that nobody reads any more."""
    plans = {node.name: node for node in plan.nodes}
    index = GraphIndex(graph)
    doomed: list[onnx.NodeProto] = []
    for dequantize in [node for node in graph.node if node.op_type == "DequantizeLinear"]:
        quantize = index.producer.get(dequantize.input[0])
        if quantize is None or quantize.op_type != "QuantizeLinear":
            continue  # a weight
        source = quantize.input[0]
        if not _stays_float(index.producer.get(source), plans):
            continue
        readers = index.consumers[dequantize.output[0]]
        kept = [node for node in readers if node.name in plans and _reads_rounded(plans[node.name], source)]
        for node in readers:
            if node not in kept:
                rename_input(node, dequantize.output[0], source)
        if kept:
            continue
        if dequantize.output[0] in index.outputs:
            _rename_output(graph, source, dequantize.output[0])
        doomed += [quantize, dequantize]
    for node in doomed:
        graph.node.remove(node)


def _reads_rounded(plan: NodePlan, tensor: str) -> bool:
    return plan.precision != "float" and (not plan.reads or tensor in plan.reads)


def _guard_floats(graph: onnx.GraphProto, integer: set[str]) -> None:
    """Keep onnxruntime from quantizing, on its own, the weights of a node that is to stay in floating point.

    It does so (WeightBiasQuantization) for every Conv and Gemm with DequantizeLinear before and QuantizeLinear behind it.

    Before: DQ → Conv (float weights) → Q        After: DQ → Sum (of one) → Conv (float weights) → Q
    """
    index = GraphIndex(graph)
    for position, node in reversed(list(enumerate(graph.node))):
        maker = index.producer.get(node.input[0]) if node.op_type in _REQUANTIZED and node.name not in integer else None
        if maker is not None and maker.op_type == "DequantizeLinear":
            name = f"{node.name}_input"
            graph.node.insert(position, helper.make_node("Sum", [node.input[0]], [name], name))
            node.input[0] = name


def _stays_float(producer: onnx.NodeProto | None, plans: Mapping[str, object]) -> bool:
    """Tell whether the tensor exists in floating point anyway: an input, or the result of a node that does not round."""
    if producer is None:
        return True
    plan = plans.get(producer.name)
    return plan is None or getattr(plan, "output", "float") == "float"


def _rename_output(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Make whoever gives or reads tensor `old` call it `new`, the name of a graph output."""
    for node in graph.node:
        rename_input(node, old, new)
        for position, name in enumerate(node.output):
            if name == old:
                node.output[position] = new
