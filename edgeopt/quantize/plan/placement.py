"""Where integers flow: which nodes run on integers and where values are rounded, by the rules of a target.

For providers that run kernel by kernel (`placement = "kernels"`), rounding an activation costs accuracy, converting between
float and integers costs time; both pay only where a kernel gains from integers. So
1. the nodes that multiply by constant weights (Conv, Gemm, MatMul …) run on integers;
2. cheap nodes between them (Relu, Add, Concat, MaxPool, Reshape …) stay on integers when everything they read is, and when an
   integer node reads their output, directly or through more of their kind: otherwise the chain ends in floating
   point anyway, and rounding earlier would only add noise;
3. MatMul and Gemm output floats when a float node reads them (their kernels add bias and scale from the 32-bit sums without
   rounding to 8 bits), and so do the projections of linear bottlenecks when a float Add reads them, where the target computes
   them as matrix products (see `projection.py`); other Conv kernels always round their output.
A residual stream between LayerNormalizations thus stays in floating point, and a convolutional net runs on integers throughout.
The other placements, for providers that compile whole graphs, are in `compiled.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from edgeopt.graph.matching import activations, is_captured, is_float, name_of, own_consumers, sole_consumer
from edgeopt.quantize.plan import compiled
from edgeopt.quantize.plan.cause import Cause, Why
from edgeopt.quantize.plan.eligible import is_floating, weight_objection
from edgeopt.quantize.plan.infinite_nodes import infinite_operand
from edgeopt.quantize.plan.operands import WEIGHTED
from edgeopt.quantize.plan.plan import NodePlan
from edgeopt.quantize.plan.projection import is_projection
from edgeopt.targets.target import Rules

MOVING = {"Flatten", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"}
ABSORBED = {"Relu", "Clip"}
ALWAYS_ROUNDED = {"Conv", "ConvTranspose"}
_FREE_OUTPUT = {"Gemm", "MatMul"}
_DEFAULT_RULES = Rules()


def place(model: ir.Model, floating: Mapping[str, Why], rules: Rules = _DEFAULT_RULES) -> tuple[NodePlan, ...]:
    """Decide for every floating-point node of the main graph; those named in `floating` are exceptions, each with its cause.

    More exceptions never bring another node to integers.
    """
    return Placer(model, rules).place(floating)


class Placer:
    """Places the nodes of one model, which must not change meanwhile; what the exceptions do not change is looked at once."""

    def __init__(self, model: ir.Model, rules: Rules = _DEFAULT_RULES) -> None:
        self._rules = rules
        self._floating_point = [node for node in model.graph if is_floating(node)]
        kernels = rules.placement == "kernels"
        self._facts = [_facts(node, model.graph, rules) for node in self._floating_point] if kernels else []

    def place(self, floating: Mapping[str, Why]) -> tuple[NodePlan, ...]:
        """Return the plan of every floating-point node; see the function `place`."""
        if self._rules.placement == "everywhere":
            return compiled.decide_all(self._floating_point, floating, self._rules)
        if self._rules.placement == "inputs":
            return tuple(compiled.decide_inputs(node, floating, self._rules) for node in self._floating_point)
        nodes, refused = self._flow(floating)
        return tuple(_decided(facts, nodes, refused) for facts in self._facts)

    def on_integers(self, floating: Mapping[str, Why]) -> dict[str, bool]:
        """Return the names of the integer nodes alone, each with whether its output is rounded: what `place` says, sooner."""
        if self._rules.placement != "kernels":
            return {node.name: node.output != "float" for node in self.place(floating) if node.precision != "float"}
        nodes, _ = self._flow(floating)
        return {facts.name: _rounds(facts, nodes) for facts in self._facts if facts.name in nodes}

    def _flow(self, floating: Mapping[str, Why]) -> tuple[set[str], dict[str, Why]]:
        """Return the integer nodes, found by one pass forward and one back, and why others are none."""
        nodes: set[str] = set()
        refused: dict[str, Why] = {}
        for facts in self._facts:
            why = floating.get(facts.name) or facts.objection
            if why is None and not nodes.issuperset(facts.sources):
                why = Why(Cause.FED_FLOATS)
            why = why or facts.infinite
            if why is None:
                nodes.add(facts.name)
            else:
                refused[facts.name] = why
        for facts in reversed(self._facts):
            if facts.flows and facts.name in nodes and not facts.bounds and nodes.isdisjoint(facts.consumers):
                nodes.discard(facts.name)
                refused[facts.name] = Why(Cause.READ_BY_FLOATS)
        return nodes, refused


@dataclass(frozen=True)
class _Facts:
    """What is known of a node whatever else stays in floating point."""

    name: str
    op: str
    flows: bool
    """Whether it runs on integers for the sake of others only."""
    objection: Why | None
    """Why it never can."""
    infinite: Why | None
    sources: tuple[str, ...]
    """The nodes that must be on integers for it to be."""
    consumers: tuple[str, ...]
    bounds: bool
    """Whether it is an activation function behind a kernel that always rounds: its range is narrower."""
    free: bool
    """Whether its kernel can output floats at no cost, and does unless all consumers are integer nodes."""
    read_outside: bool
    """Whether it gives an output of the graph, or something that a subgraph reads."""
    summed_by: tuple[str, ...]
    """Residual Adds for which it is computed as a product that outputs floats, if one of them floats."""


def _facts(node: ir.Node, graph: ir.Graph, rules: Rules) -> _Facts:
    flows = not node.domain and node.op_type not in WEIGHTED and node.op_type in rules.ops
    producers = [value.producer() for value in activations(node)] if flows else []
    readers = [reader for value in node.outputs for reader in own_consumers(value, graph)]
    adds = [name_of(reader) for reader in readers if reader.op_type == "Add"]
    infinite = infinite_operand(node) if flows else ""
    return _Facts(
        name=name_of(node),
        op=node.op_type,
        flows=flows,
        objection=_objection(node, producers, flows=flows),
        infinite=Why(Cause.INFINITE, infinite) if infinite else None,
        sources=tuple(name_of(producer) for producer in producers if producer is not None),
        consumers=tuple(name_of(reader) for reader in readers),
        bounds=_bounds(node),
        free=node.op_type in _FREE_OUTPUT,
        read_outside=any(value.is_graph_output() or is_captured(value, graph) for value in node.outputs),
        summed_by=tuple(adds) if adds and rules.pointwise_products and is_projection(node) else (),
    )


def _objection(node: ir.Node, producers: Sequence[ir.Node | None], *, flows: bool) -> Why | None:
    if node.domain:
        return Why(Cause.NO_KERNEL)
    if node.op_type in WEIGHTED:
        return weight_objection(node)
    if not flows:
        return Why(Cause.NOT_WORTH, node.op_type)
    return Why(Cause.FED_FLOATS) if not producers or None in producers else None


def _bounds(node: ir.Node) -> bool:
    read = node.inputs[0] if node.op_type in ABSORBED else None
    producer = read.producer() if read is not None else None
    return producer is not None and producer.op_type in ALWAYS_ROUNDED and sole_consumer(producer.outputs[0]) is node


def _rounds(facts: _Facts, nodes: set[str]) -> bool:
    """Return whether an integer node's output is rounded to integers."""
    if facts.free:
        return not facts.read_outside and bool(facts.consumers) and nodes.issuperset(facts.consumers)
    return facts.read_outside or nodes.issuperset(facts.summed_by)


def _decided(facts: _Facts, nodes: set[str], refused: Mapping[str, Why]) -> NodePlan:
    if facts.name not in nodes:
        return NodePlan(facts.name, facts.op, "float", "float", *refused[facts.name])
    cause = Cause.BETWEEN if facts.flows else Cause.WEIGHTS
    return NodePlan(facts.name, facts.op, "int8", "int8" if _rounds(facts, nodes) else "float", cause)


def rounded_tensors(model: ir.Model, nodes: Iterable[NodePlan]) -> tuple[str, ...]:
    """Return the activations that the plan rounds to integers: inputs of integer nodes, and outputs of those that round."""
    plans = {plan.name: plan for plan in nodes if plan.precision != "float"}
    names: dict[str, None] = {}
    for node in model.graph:
        plan = plans.get(name_of(node))
        if plan is None:
            continue
        reads = [value for value in node.inputs if value is not None and value.name in plan.reads] or activations(node)
        gives = list(node.outputs) if plan.output != "float" else []
        names |= dict.fromkeys(name_of(value) for value in (*reads, *gives) if is_float(value))
    return tuple(names)
