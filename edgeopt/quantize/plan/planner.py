"""Decide: from the target's wishes, the placement and the observed statistics to a plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from edgeopt.graph.index import GraphIndex, attribute
from edgeopt.quantize.algorithms.product import ProductChoice, choose_product
from edgeopt.quantize.apply.smooth import smoothed_name
from edgeopt.quantize.calibrate.calibrator import Observations
from edgeopt.quantize.calibrate.ranges import Grid, Method, choose_range
from edgeopt.quantize.calibrate.statistics import TensorStatistics
from edgeopt.quantize.config import QuantizeConfig
from edgeopt.quantize.plan.defaults import explain
from edgeopt.quantize.plan.placement import ABSORBED, MOVING, rounded_tensors
from edgeopt.quantize.plan.plan import Decision, NodePlan, Plan, Scheme, SmoothPlan, TensorPlan
from edgeopt.quantize.prepare import Prepared
from edgeopt.targets.target import Target

_SUMS = {"Add", "Conv", "ConvTranspose"}
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
        per_channel_ops=tuple(wishes.rules.per_channel_ops) if wishes.per_channel else (),
        bias=wishes.rules.bias,
        norm_weight=wishes.rules.norm_weight,
    )
    decisions = (*prepared.decisions, *explain(scheme, nodes, target, config))
    products = _products(prepared.model, nodes, observations, scheme, config)
    clipped = unbounded(prepared.model, nodes)
    tensors = tuple(_tensor_plans(observations, products, scheme, config, clipped))
    smoothing = tuple(SmoothPlan(name, item.strength, item.factors) for name, item in products.items() if item.factors)
    if smoothing:
        names = ", ".join(f"{item.name} ({item.strength})" for item in smoothing)
        decisions = (*decisions, Decision("smoothing", names, "lowers the error of the matrix product by 2 dB or more"))
    plan = Plan(target.name, scheme, nodes, tensors, decisions, smoothing, prepared.equalization)
    if config.share_ranges and wishes.rules.shared:
        plan = unite_ranges(prepared.model, plan, frozenset(wishes.rules.shared))
    return share_ranges(prepared.model, plan)


def product_inputs(model: onnx.ModelProto, nodes: tuple[NodePlan, ...]) -> dict[str, list[onnx.NodeProto]]:
    """Return the activations that integer Gemm and MatMul nodes multiply by constant matrices, each with those nodes."""
    integer = {node.name for node in nodes if node.precision != "float"}
    constants = {tensor.name for tensor in model.graph.initializer}
    found: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        if node.name in integer and node.op_type in {"Gemm", "MatMul"} and node.input[1] in constants:
            found.setdefault(node.input[0], []).append(node)
    return found


def _products(
    model: onnx.ModelProto,
    nodes: tuple[NodePlan, ...],
    observations: Observations,
    scheme: Scheme,
    config: QuantizeConfig,
) -> dict[str, ProductChoice]:
    """Choose range and smoothing for every activation whose rows were sampled; only float ones can be smoothed."""
    index = GraphIndex(model.graph)
    given_as_integers = {name for node in model.graph.node for name in node.output if _rounds(node, nodes)}
    choices: dict[str, ProductChoice] = {}
    grids = Grid(_BITS[scheme.activation], scheme.symmetric_activation), Grid(_BITS[scheme.weight], symmetric=True)
    for name, readers in product_inputs(model, nodes).items():
        statistics = observations.tensors.get(name) if config.ranges == "auto" else None
        if statistics is None or statistics.sample is None or statistics.channels is None or not statistics.count:
            continue
        extremes = statistics.channels.extremes
        weight = np.concatenate([_matrix(node, index) for node in readers], axis=1)
        channels = scheme.per_channel and all(node.op_type in scheme.per_channel_ops for node in readers)
        smooth = config.smooth and name not in given_as_integers and channels  # one scale a tensor cannot take rows that differ
        choices[name] = choose_product(statistics.sample.rows, extremes, weight, grids=grids, smooth=smooth)
    return choices


def _rounds(node: onnx.NodeProto, nodes: tuple[NodePlan, ...]) -> bool:
    return any(plan.name == node.name and plan.output != "float" for plan in nodes)


def _matrix(node: onnx.NodeProto, index: GraphIndex) -> NDArray[Any]:
    """Return the node's weight as [inputs, outputs]."""
    weight = numpy_helper.to_array(index.initializers[node.input[1]])
    return weight.T if attribute(node, "transB", 0) else weight


def _tensor_plans(
    observations: Observations,
    products: Mapping[str, ProductChoice],
    scheme: Scheme,
    config: QuantizeConfig,
    clipped: Set[str],
) -> Iterable[TensorPlan]:
    grid = Grid(_BITS[scheme.activation], scheme.symmetric_activation)
    for name, statistics in observations.tensors.items():
        if statistics.count == 0:
            continue
        if name in products:
            low, high = products[name].interval
            target = smoothed_name(name) if products[name].factors else name
            yield TensorPlan(target, scheme.activation, low, high, "product")
            continue
        method = config.ranges if config.ranges != "auto" else _automatic(statistics, clipped=name in clipped)
        low, high = choose_range(statistics, method, grid, percentile=config.percentile)
        yield TensorPlan(name, scheme.activation, low, high, method)


def _automatic(statistics: TensorStatistics, *, clipped: bool) -> Method:
    """Choose how the range of an activation follows that enters no matrix product.

    Sums that no activation function bounds have long tails on both sides, and clipping those pays. What a ReLU or ReLU6 gives
    is never clipped: its largest values are the features that decide.
    """
    smaller, larger = sorted((max(-statistics.minimum, 0.0), max(statistics.maximum, 0.0)))
    two_sided = smaller > 0.1 * larger
    return "mse" if clipped and two_sided and statistics.histogram is not None else "min-max"


def unbounded(model: onnx.ModelProto, nodes: tuple[NodePlan, ...]) -> frozenset[str]:
    """Return the rounded results of convolutions and additions, floating ones too, that no Relu or Clip bounds."""
    sums = [node for node in model.graph.node if node.op_type in _SUMS]
    names = {name for node in sums for name in node.output}
    return frozenset(names.intersection(rounded_tensors(model, nodes)) - unobserved(model, nodes))


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


def unite_ranges(model: onnx.ModelProto, plan: Plan, ops: Set[str]) -> Plan:
    """Give all activations around an operator of `ops` the range that holds them all; chains of such operators share one."""
    integer = {node.name for node in plan.integer_nodes}
    index = GraphIndex(model.graph)
    tensors = {tensor.name: tensor for tensor in plan.tensors}
    group: dict[str, set[str]] = {name: {name} for name in tensors}
    for node in model.graph.node:
        names = [name for name in (*index.activations(node), *node.output) if name in tensors]
        if node.name in integer and node.op_type in ops and len(names) > 1:
            united = {other for name in names for other in group[name]}
            group |= dict.fromkeys(united, united)
    shared = {name: members for name, members in group.items() if len(members) > 1}
    spans = {name: (plan_tensor.low, plan_tensor.high) for name, plan_tensor in tensors.items()}
    for name, members in shared.items():
        low, high = min(spans[other][0] for other in members), max(spans[other][1] for other in members)
        tensors[name] = replace(tensors[name], low=low, high=high)
    reason = f"one scale around {', '.join(sorted(ops))} on this target (share_ranges)"
    decision = Decision("shared ranges", f"{len(shared)} activations", reason)
    return replace(plan, tensors=tuple(tensors.values()), decisions=(*plan.decisions, decision))


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
