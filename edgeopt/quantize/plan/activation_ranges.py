"""The range of each activation, and the smoothing of those that enter a matrix product, from the observed statistics.

An activation that enters a product gets the range under which the product loses least (`plan/smoothquant.py`); any other its
range by the method the options name, or by a rule on what it is (`calibrate/ranges.py` computes it).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeopt.graph.matching import array, attribute, by_name, constant, name_of, names_of
from edgeopt.quantize.affine import Grid, Interval
from edgeopt.quantize.calibrate.calibrator import Observations
from edgeopt.quantize.calibrate.ranges import Method, choose_range
from edgeopt.quantize.calibrate.response import Function, response
from edgeopt.quantize.calibrate.statistics import TensorStatistics
from edgeopt.quantize.config import QuantizeConfig
from edgeopt.quantize.plan.placement import rounded_tensors
from edgeopt.quantize.plan.plan import IntegerType, NodePlan, Plan, Scheme, SmoothPlan, TensorPlan
from edgeopt.quantize.plan.shared_ranges import followers
from edgeopt.quantize.plan.smoothquant import ProductChoice, choose_product, scaled_names

_SUMS = {"Add", "Conv", "ConvTranspose"}


Known = dict[tuple[str, Method], Interval]
"""Ranges that were computed before, from the same observations."""


def plan_ranges(
    model: ir.Model, plan: Plan, observations: Observations, config: QuantizeConfig, known: Known | None = None
) -> Plan:
    """Return the plan, whose nodes are placed, with a range for every observed activation and the smoothing that pays.

    Args:
        model: prepared.
        plan: its nodes are placed.
        observations: of the activations that it rounds.
        config: says how ranges are computed.
        known: is read, and added to.
    """
    known = {} if known is None else known
    products = _products(model, plan.nodes, observations, plan.scheme, config)
    plain = _rounded_plainly(model, plan.nodes, {name for name, item in products.items() if item.factors})
    clipped = unbounded(model, plan.nodes)
    scaled = scaled_names(model, [name for name, item in products.items() if item.factors])
    kinds = _Kinds(clipped, plain, _responses(model, clipped), scaled, known)
    tensors = tuple(_tensor_plans(observations, products, plan.scheme, config, kinds))
    smoothing = tuple(
        SmoothPlan(name, products[name].strength, products[name].factors, result) for name, result in scaled.items()
    )
    plan = replace(plan, tensors=tensors, smoothing=smoothing)
    if not smoothing:
        return plan
    names = ", ".join(f"{item.name} ({item.strength})" for item in smoothing)
    return plan.decided("smoothing", names, "lowers the error of the matrix product by 2 dB or more")


def product_inputs(model: ir.Model, nodes: tuple[NodePlan, ...]) -> dict[str, list[ir.Node]]:
    """Return the activations that integer Gemm and MatMul nodes multiply by constant matrices, each with those nodes."""
    integer = {node.name for node in nodes if node.precision != "float"}
    found: dict[str, list[ir.Node]] = {}
    for node in model.graph:
        if node.name in integer and node.op_type in {"Gemm", "MatMul"} and constant(node.inputs[1]) is not None:
            found.setdefault(name_of(node.inputs[0]), []).append(node)
    return found


def _products(
    model: ir.Model,
    nodes: tuple[NodePlan, ...],
    observations: Observations,
    scheme: Scheme,
    config: QuantizeConfig,
) -> dict[str, ProductChoice]:
    """Choose range and smoothing for every activation whose rows were sampled; only float ones can be smoothed."""
    rounding = {node.name for node in nodes if node.output != "float"}
    given_as_integers = {name for node in model.graph if node.name in rounding for name in names_of(node.outputs)}
    choices: dict[str, ProductChoice] = {}
    grids = Grid.of(scheme.activation, symmetric=scheme.symmetric_activation), Grid.of(scheme.weight, symmetric=True)
    for name, readers in product_inputs(model, nodes).items():
        statistics = observations.tensors.get(name) if config.ranges == "auto" else None
        if statistics is None or statistics.sample is None or statistics.channels is None or not statistics.count:
            continue
        extremes = statistics.channels.extremes
        weight = np.concatenate([_matrix(node) for node in readers], axis=1)
        channels = all(scheme.has_channels(node.op_type) for node in readers)  # one scale does not fit rows that differ
        smooth = config.smooth and name not in given_as_integers and channels
        choices[name] = choose_product(statistics.sample.rows, extremes, weight, grids=grids, smooth=smooth)
    return choices


def _matrix(node: ir.Node) -> NDArray[Any]:
    """Return the node's weight as [inputs, outputs]."""
    weight = np.asarray(array(node.inputs[1]))
    return weight.T if attribute(node, "transB", 0) else weight


def _tensor_plans(
    observations: Observations,
    products: Mapping[str, ProductChoice],
    scheme: Scheme,
    config: QuantizeConfig,
    kinds: _Kinds,
) -> Iterator[TensorPlan]:
    """Yield the range of each observed activation."""
    grid = Grid.of(scheme.activation, symmetric=scheme.symmetric_activation)
    dtype = cast("IntegerType", scheme.activation)
    for name, statistics in observations.tensors.items():
        if statistics.count == 0:
            continue
        if name in products:
            low, high = products[name].interval
            smoothed = bool(products[name].factors)
            yield TensorPlan(kinds.scaled[name] if smoothed else name, dtype, low, high, "product")
            if not smoothed or name not in kinds.plain:
                continue
        function = kinds.responses.get(name)
        method: Method = config.ranges if config.ranges != "auto" else _automatic(statistics, kinds, name)
        if (name, method) not in kinds.known:
            interval = choose_range(statistics, method, grid, percentile=config.percentile, response=function)
            kinds.known[name, method] = interval
        yield TensorPlan(name, dtype, *kinds.known[name, method], method)


@dataclass(frozen=True)
class _Kinds:
    """What is known of activations: those that may be clipped, smoothed ones that are read as they are, too, and functions."""

    clipped: Set[str]
    plain: Set[str]
    responses: Mapping[str, Function]
    scaled: Mapping[str, str]
    """What the scaled copies of the smoothed ones are called."""
    known: Known


def _responses(model: ir.Model, names: Set[str]) -> dict[str, Function]:
    """Return, of those called `names`, the activations that all consumers see through one elementwise function, with it."""
    found = {name: response(value) for name, value in by_name(model.graph).items() if name in names}
    return {name: function for name, function in found.items() if function is not None}


def _rounded_plainly(model: ir.Model, nodes: tuple[NodePlan, ...], smoothed: set[str]) -> set[str]:
    """Return the smoothed activations that integer nodes other than products read rounded: residual additions, say."""
    others = [node for node in nodes if node.op not in {"Gemm", "MatMul"}]
    return smoothed.intersection(rounded_tensors(model, others))


def _automatic(statistics: TensorStatistics, kinds: _Kinds, name: str) -> Method:
    """Choose how the range of an activation follows that enters no matrix product.

    Sums that no activation function bounds have long tails on both sides, and clipping those pays; where an activation function
    flattens one side (SiLU, HardSwish), the error is that of its result. The output of a ReLU or ReLU6 is never clipped: its
    largest values are the features that decide.
    """
    if statistics.histogram is None or name not in kinds.clipped:
        return "min-max"
    if name in kinds.responses:
        return "mse"
    smaller, larger = sorted((max(-statistics.minimum, 0.0), max(statistics.maximum, 0.0)))
    two_sided = smaller > 0.1 * larger
    return "mse" if two_sided else "min-max"


def unbounded(model: ir.Model, nodes: tuple[NodePlan, ...]) -> frozenset[str]:
    """Return the rounded results of convolutions and additions, floating ones too, that no Relu or Clip bounds."""
    names = {name for node in model.graph if node.op_type in _SUMS for name in names_of(node.outputs)}
    return frozenset(names.intersection(rounded_tensors(model, nodes)) - followers(model, nodes))
