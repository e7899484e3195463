"""Where Q/DQ pairs stand for providers that compile whole graphs.

everywhere  An integer-only device (an NPU) takes a graph whose every tensor has a scale; a float between falls back to the
            CPU and cuts the graph in two. So every operator the device knows runs on integers, inputs and outputs of
            the model included. But where the device does not know the consumers (the LayerNormalization behind a residual
            Add), the graph is cut there anyway: what lies between a layer and them runs with them, and is not rounded.
inputs      A compiler that fuses by itself (TensorRT's explicit quantization, https://docs.nvidia.com/deeplearning/tensorrt;
            OpenVINO) wants pairs before what multiplies and none behind, so that bias, addition and activation run on the
            32-bit sums. Of a residual Add the branch that comes from no multiplication is rounded, to be read as 8 bits:

            x ─ Q ─ DQ ─ Conv ─ Relu ─ Q ─ DQ ─ Conv ─ Add ─ Relu ─ Q ─ DQ ─ …
            └──────────────── Q ─ DQ ──────────────────┘
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from edgeopt.graph.matching import activations, is_float, name_of
from edgeopt.quantize.plan.cause import Cause, Why
from edgeopt.quantize.plan.eligible import weight_objection
from edgeopt.quantize.plan.infinite_nodes import infinite_operand
from edgeopt.quantize.plan.operands import WEIGHTED
from edgeopt.quantize.plan.plan import NodePlan
from edgeopt.targets.target import Rules

_FUSED = frozenset({"Conv", "ConvTranspose"})
"""Behind these an Add is fused, so that its other branch is best read as 8 bits."""


def decide_all(nodes: Sequence[ir.Node], floating: Mapping[str, Why], rules: Rules) -> tuple[NodePlan, ...]:
    """Decide for the floating-point nodes of a graph, in order, where everything that can be is on integers."""
    plans = {node: decide_everywhere(node, floating, rules) for node in nodes}
    for node in reversed(nodes):
        if plans[node].precision != "float" and node.op_type not in WEIGHTED and _leads_to_floats(node, plans):
            plans[node] = NodePlan(name_of(node), node.op_type, "float", "float", Cause.READ_BY_FLOATS)
    return tuple(plans.values())


def _leads_to_floats(node: ir.Node, plans: Mapping[ir.Node, NodePlan]) -> bool:
    """Return whether the node's results have no consumers but floating-point nodes."""
    readers = [reader for value in node.outputs for reader in value.consumers()]
    is_output = any(value.is_graph_output() for value in node.outputs)
    return bool(readers) and not is_output and all(reader in plans and plans[reader].precision == "float" for reader in readers)


def decide_everywhere(node: ir.Node, floating: Mapping[str, Why], rules: Rules) -> NodePlan:
    """Decide for one node where everything that can be is on integers; nodes named in `floating` are exceptions."""
    why = _objection(node, floating, rules)
    if why is not None:
        return NodePlan(name_of(node), node.op_type, "float", "float", *why)
    return NodePlan(name_of(node), node.op_type, "int8", "int8", Cause.TAKEN)


def _objection(node: ir.Node, floating: Mapping[str, Why], rules: Rules) -> Why | None:
    if node.name in floating:
        return floating[name_of(node)]
    if node.domain:
        return Why(Cause.NOT_STANDARD, f"{node.domain}:{node.op_type}")
    if node.op_type in WEIGHTED:
        why = weight_objection(node)
        return None if why is not None and why.cause is Cause.TWO_ACTIVATIONS and rules.products else why
    if node.op_type not in rules.ops:
        return Why(Cause.NOT_TAKEN, node.op_type)
    if not any(is_float(value) for value in node.inputs):
        return Why(Cause.NO_FLOATS)
    infinite = infinite_operand(node)
    return Why(Cause.INFINITE, infinite) if infinite else None


def decide_inputs(node: ir.Node, floating: Mapping[str, Why], rules: Rules) -> NodePlan:
    """Decide for one node where only inputs are rounded; nodes named in `floating` are exceptions."""
    if node.op_type == "Add" and "Add" in rules.ops and node.name not in floating:
        branch = _residual_branch(node)
        if branch:
            return NodePlan(name_of(node), "Add", "int8", "float", Cause.RESIDUAL, reads=(branch,))
        return NodePlan(name_of(node), "Add", "float", "float", Cause.NO_RESIDUAL)
    why = _objection(node, floating, rules)
    if why is not None:
        return NodePlan(name_of(node), node.op_type, "float", "float", *why)
    return NodePlan(name_of(node), node.op_type, "int8", "float", Cause.INPUTS)


def _residual_branch(node: ir.Node) -> str:
    """Return the input of a residual Add that is not a convolution's output; "" if the Add follows no convolution.

    Behind a matrix product there is nothing to fuse: of a transformer's residual stream 8 bits would lose the digits that its
    normalisations need, on a text encoder 10 points of accuracy.
    """
    floats = activations(node)
    producers = {value: value.producer() for value in floats}
    fused = [value for value in floats if (made := producers[value]) is not None and made.op_type in _FUSED]
    others = [value for value in floats if value not in fused]
    if len(floats) != 2 or not fused:
        return ""
    return name_of(others[0] if others else floats[1])
