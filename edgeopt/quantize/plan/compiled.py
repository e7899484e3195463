"""Where Q/DQ pairs stand for providers that compile whole graphs.

everywhere  An integer-only device (an NPU) takes a graph whose every tensor has a scale; a float between falls back to the
            CPU and cuts the graph in two. So every operator the device knows reads and gives integers, inputs and outputs of
            the model included.
inputs      A compiler that fuses by itself (TensorRT's explicit quantization, https://docs.nvidia.com/deeplearning/tensorrt;
            OpenVINO) wants pairs before what multiplies and none behind, so that bias, addition and activation run on the
            32-bit sums. Of a residual Add the branch that comes from no multiplication is rounded, to be read as 8 bits:

            x ─ Q ─ DQ ─ Conv ─ Relu ─ Q ─ DQ ─ Conv ─ Add ─ Relu ─ Q ─ DQ ─ …
            └──────────────── Q ─ DQ ──────────────────┘
"""

from __future__ import annotations

from collections.abc import Set

import onnx

from edgeopt.graph.index import GraphIndex
from edgeopt.quantize.plan.eligible import PRODUCT, WEIGHTED, weight_objection
from edgeopt.quantize.plan.plan import NodePlan
from edgeopt.targets.target import Rules


def decide_everywhere(node: onnx.NodeProto, index: GraphIndex, excluded: Set[str], rules: Rules) -> NodePlan:
    """Decide for one node where everything that can be is on integers."""
    reason = _objection(node, index, excluded, rules)
    if reason:
        return NodePlan(node.name, node.op_type, "float", "float", reason)
    return NodePlan(node.name, node.op_type, "int8", "int8", "the provider takes it as integers; floats would fall back")


def _objection(node: onnx.NodeProto, index: GraphIndex, excluded: Set[str], rules: Rules) -> str:
    if node.name in excluded:
        return "excluded"
    if node.domain not in {"", "ai.onnx"}:
        return f"{node.domain}:{node.op_type} is no standard operator"
    if node.op_type in WEIGHTED:
        reason = weight_objection(node, index)
        return "" if reason == PRODUCT and rules.products else reason
    if node.op_type not in rules.ops:
        return f"the provider does not take {node.op_type} as integers"
    return "" if any(index.is_float(name) for name in node.input) else "it reads nothing that is floating point"


def decide_inputs(node: onnx.NodeProto, index: GraphIndex, excluded: Set[str], rules: Rules) -> NodePlan:
    """Decide for one node where only inputs are rounded."""

    def floating(reason: str) -> NodePlan:
        return NodePlan(node.name, node.op_type, "float", "float", reason)

    if node.op_type == "Add" and "Add" in rules.ops and node.name not in excluded:
        branch = _residual_branch(node, index)
        if branch:
            return NodePlan(node.name, "Add", "int8", "float", "its residual branch is read as 8 bits", reads=(branch,))
        return floating("no residual addition behind a multiplication")
    reason = _objection(node, index, excluded, rules)
    if reason:
        return floating(reason)
    return NodePlan(node.name, node.op_type, "int8", "float", "its inputs are rounded; what follows is fused by the provider")


def _residual_branch(node: onnx.NodeProto, index: GraphIndex) -> str:
    """Return the one activation of an Add that is not directly what a multiplication gives; "" if there is not exactly one."""
    floats = index.activations(node)
    made = {name: index.producer.get(name) for name in floats}
    fused = [name for name in floats if (maker := made[name]) is not None and maker.op_type in WEIGHTED]
    others = [name for name in floats if name not in fused]
    if len(floats) != 2 or not fused:
        return ""
    return others[0] if others else floats[1]
