"""Ranges that tensors share: because they hold the same values, or because the target wants one scale around an operator.

follow   Before Relu and Clip: the range of what comes out, since the grid clips all the rest (onnxruntime drops the node
         then). After nodes that only move values: the range of what goes in. So no rounding is done twice.
unite    Around the operators of `Rules.shared`: one range that holds all; chains of such operators share one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import replace

import onnx_ir as ir

from edgeopt.graph.matching import activations, name_of, names_of, sole_consumer
from edgeopt.quantize.plan.placement import ABSORBED, MOVING
from edgeopt.quantize.plan.plan import NodePlan, Plan, TensorPlan


def follow_ranges(model: ir.Model, plan: Plan) -> Plan:
    """Return the plan with the range of another tensor for each that holds the same values."""
    tensors = {tensor.name: tensor for tensor in plan.tensors}
    for name, source in following(model, plan.nodes):
        if source in tensors:
            dtype = tensors[name].dtype if name in tensors else tensors[source].dtype
            tensors[name] = replace(tensors[source], name=name, dtype=dtype, follows=source, own=None)
    return replace(plan, tensors=tuple(tensors.values()))


def followers(model: ir.Model, nodes: Iterable[NodePlan]) -> set[str]:
    """Return the rounded tensors whose range follows from another's, so that none of their values need be looked at."""
    return {name for name, _ in following(model, nodes)}


def following(model: ir.Model, nodes: Iterable[NodePlan]) -> list[tuple[str, str]]:
    """Return (tensor, the tensor whose range it takes), each source before its followers."""
    integer = {node.name for node in nodes if node.precision != "float"}
    here = [node for node in model.graph if node.name in integer]
    moved = [(name, name_of(node.inputs[0])) for node in here if node.op_type in MOVING for name in names_of(node.outputs)]
    absorbed = [node for node in reversed(here) if node.op_type in ABSORBED and _alone_reads(node)]
    return moved + [(name_of(node.inputs[0]), name_of(node.outputs[0])) for node in absorbed]


def leader_of(name: str, tensors: Mapping[str, TensorPlan]) -> str:
    """Return the tensor whose range this one takes, since both hold the same values: rounding them again changes nothing."""
    while name in tensors and (source := tensors[name].follows) is not None and source in tensors:
        name = source
    return name


def _alone_reads(node: ir.Node) -> bool:
    return node.inputs[0] is not None and sole_consumer(node.inputs[0]) is node


def unite_ranges(model: ir.Model, plan: Plan, ops: Set[str]) -> Plan:
    """Return the plan with one range for all activations around an operator of `ops`, chains of them together.

    Ranges that were united before are taken apart first, so that the nodes of the plan alone decide.
    """
    integer = {node.name for node in plan.integer_nodes}
    tensors = {tensor.name: _apart(tensor) for tensor in plan.tensors}
    leaders = {name for name, tensor in tensors.items() if tensor.follows is None}
    group: dict[str, set[str]] = {name: {name} for name in leaders}
    for node in model.graph:
        names = [name for name in names_of((*activations(node), *node.outputs)) if name in leaders]
        if node.name in integer and node.op_type in ops and len(names) > 1:
            united = {other for name in names for other in group[name]}
            group |= dict.fromkeys(united, united)
    own = {name: (tensor.low, tensor.high) for name, tensor in tensors.items()}
    for name, members in group.items():
        if len(members) > 1:
            low, high = min(own[other][0] for other in members), max(own[other][1] for other in members)
            tensors[name] = replace(tensors[name], low=low, high=high, own=own[name])
    return replace(plan, tensors=tuple(tensors.values()))


def _apart(tensor: TensorPlan) -> TensorPlan:
    return tensor if tensor.own is None else replace(tensor, low=tensor.own[0], high=tensor.own[1], own=None)
