"""Decide: from the target's wishes, the placement and the observed statistics to a plan."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import onnx

from edgeopt.quantize.config import QuantizeConfig
from edgeopt.quantize.graph.index import GraphIndex
from edgeopt.quantize.graph.prepare import Prepared
from edgeopt.quantize.observe.observer import Observations
from edgeopt.quantize.observe.ranges import Grid, choose_range
from edgeopt.quantize.plan.placement import ABSORBED, MOVING
from edgeopt.quantize.plan.plan import Decision, NodePlan, Plan, Scheme, TensorPlan
from edgeopt.targets.target import Target

_BITS = {"int8": 8, "uint8": 8, "int16": 16, "uint16": 16}


def make_plan(
    prepared: Prepared,
    nodes: tuple[NodePlan, ...],
    observations: Observations,
    *,
    target: Target,
    config: QuantizeConfig,
) -> Plan:
    """Return the plan for `nodes` as placed, with a range for every observed tensor."""
    wishes = target.quantization
    scheme = Scheme(
        activation=wishes.activation,
        weight=wishes.weight,
        per_channel=wishes.per_channel,
        symmetric_activation=wishes.symmetric_activation,
        symmetric_weight=wishes.symmetric_weight,
    )
    decisions = (*prepared.decisions, *_decisions(scheme, nodes, target, config))
    tensors = tuple(_tensor_plans(observations, scheme, config))
    plan = Plan(target.name, scheme, nodes, tensors, decisions)
    return share_ranges(prepared.model, plan)


def _decisions(scheme: Scheme, nodes: tuple[NodePlan, ...], target: Target, config: QuantizeConfig) -> Iterable[Decision]:
    kind = "per channel" if scheme.per_channel else "per tensor"
    yield Decision("integers", f"{scheme.activation} activations, {scheme.weight} weights {kind}", target.quantization.reason)
    integer = [node for node in nodes if node.precision != "float"]
    yield Decision(
        "placement",
        f"{len(integer)} of {len(nodes)} nodes on integers",
        "nodes that multiply by constant weights, and cheap ones between them",
    )
    floating = [node for node in integer if node.output == "float"]
    if floating:
        yield Decision(
            "outputs", f"{len(floating)} integer nodes give floats", "floating-point nodes read them, so rounding gains nothing"
        )
    yield Decision("ranges", config.ranges, _RANGE_REASONS[config.ranges])


_RANGE_REASONS = {
    "min-max": "nothing that was seen is clipped",
    "moving-average": "rare outliers count less",
    "percentile": "a small share of the values is clipped for finer steps",
    "mse": "rounding and clipping error together are least",
    "entropy": "the rounded distribution is nearest to the original",
}


def _tensor_plans(observations: Observations, scheme: Scheme, config: QuantizeConfig) -> Iterable[TensorPlan]:
    grid = Grid(_BITS[scheme.activation], scheme.symmetric_activation)
    for name, statistics in observations.tensors.items():
        if statistics.count == 0:
            continue
        low, high = choose_range(statistics, config.ranges, grid, percentile=config.percentile)
        yield TensorPlan(name, scheme.activation, low, high, config.ranges)


def share_ranges(model: onnx.ModelProto, plan: Plan) -> Plan:
    """Give tensors that hold the same values the same range, so that no rounding is done twice.

    Before Relu/Clip: the range of what comes out, since the grid clips all the rest (onnxruntime drops the node then).
    After nodes that only move values: the range of what goes in.
    """
    index = GraphIndex(model.graph)
    integer = {node.name for node in plan.integer_nodes}
    tensors = {tensor.name: tensor for tensor in plan.tensors}

    def copy(source: str, to: str, method: str) -> None:
        if source in tensors:
            low, high = tensors[source].low, tensors[source].high
            tensors[to] = replace(tensors[source], name=to, low=low, high=high, method=method)

    for node in model.graph.node:
        if node.name in integer and node.op_type in MOVING:
            for name in node.output:
                copy(node.input[0], name, f"as {node.input[0]}")
    for node in reversed(list(model.graph.node)):
        if node.name in integer and node.op_type in ABSORBED and index.feeds_only(node.input[0], node):
            copy(node.output[0], node.input[0], f"as {node.output[0]}")
    return replace(plan, tensors=tuple(tensors.values()))


def unobserved(model: onnx.ModelProto, nodes: tuple[NodePlan, ...]) -> set[str]:
    """Return the rounded tensors whose range follows from another's (see `share_ranges`), so that nobody need watch them."""
    index = GraphIndex(model.graph)
    integer = {node.name for node in nodes if node.precision != "float"}
    names: set[str] = set()
    for node in model.graph.node:
        if node.name not in integer:
            continue
        if node.op_type in MOVING:
            names.update(node.output)
        elif node.op_type in ABSORBED and index.feeds_only(node.input[0], node):
            names.add(node.input[0])
    return names
