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

from collections.abc import Iterable, Mapping
from typing import Literal

import onnx_ir as ir

from edgeopt.graph.matching import activations, is_captured, is_float, name_of, own_consumers, sole_consumer
from edgeopt.quantize.plan import compiled
from edgeopt.quantize.plan.cause import Cause, Why
from edgeopt.quantize.plan.eligible import is_floating, weight_objection
from edgeopt.quantize.plan.infinite import infinite_operand
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
    nodes = [node for node in model.graph if is_floating(node)]
    if rules.placement == "everywhere":
        return compiled.decide_all(nodes, floating, rules)
    if rules.placement == "inputs":
        return tuple(compiled.decide_inputs(node, floating, rules) for node in nodes)
    flow = _Flow(model.graph, floating, rules)
    return tuple(_decide(node, flow) for node in nodes)


class _Flow:
    """The integer nodes, found by one pass forward and one back."""

    def __init__(self, graph: ir.Graph, floating: Mapping[str, Why], rules: Rules) -> None:
        self.graph = graph
        self.floating = floating
        self.rules = rules
        self.flowing = frozenset(rules.ops)
        self.refused: dict[str, Why] = {}
        self.nodes: set[str] = set()
        nodes = list(graph)
        for node in nodes:
            if self._may(node):
                self.nodes.add(name_of(node))
        for node in reversed(nodes):
            if node.name in self.nodes and node.op_type in self.flowing and not self._leads_to_integers(node):
                if self._bounds(node):
                    continue
                self.nodes.discard(name_of(node))
                self.refused[name_of(node)] = Why(Cause.READ_BY_FLOATS)

    def _may(self, node: ir.Node) -> bool:
        if node.domain or not is_floating(node):
            return False
        why = self._objection(node)
        if why is not None:
            self.refused[name_of(node)] = why
        return why is None

    def _objection(self, node: ir.Node) -> Why | None:
        if node.name in self.floating:
            return self.floating[name_of(node)]
        if node.op_type in WEIGHTED:
            return weight_objection(node)
        if node.op_type not in self.flowing:
            return Why(Cause.NOT_WORTH, node.op_type)
        floats = activations(node)
        producers = [value.producer() for value in floats]
        if not floats or any(producer is None or producer.name not in self.nodes for producer in producers):
            return Why(Cause.FED_FLOATS)
        infinite = infinite_operand(node)
        return Why(Cause.INFINITE, infinite) if infinite else None

    def _leads_to_integers(self, node: ir.Node) -> bool:
        return any(reader.name in self.nodes for value in node.outputs for reader in own_consumers(value, self.graph))

    def _bounds(self, node: ir.Node) -> bool:
        """Return whether the node is an activation function behind a kernel that always rounds: its range is narrower."""
        read = node.inputs[0] if node.op_type in ABSORBED else None
        producer = read.producer() if read is not None else None
        return producer is not None and producer.op_type in ALWAYS_ROUNDED and sole_consumer(producer.outputs[0]) is node

    def rounds(self, node: ir.Node) -> bool:
        """Return whether the integer node's output is rounded to integers."""
        readers = self.readers(node)
        if node.op_type in _FREE_OUTPUT:
            return bool(readers) and all(reader.name in self.nodes for reader in readers)
        floating = any(reader.op_type == "Add" and reader.name not in self.nodes for reader in readers)
        return not (floating and self.rules.pointwise_products and is_projection(node))

    def readers(self, node: ir.Node) -> list[ir.Node]:
        """Return the consumers of the node's outputs; none, if one is an output of the graph as well."""
        if any(value.is_graph_output() or is_captured(value, self.graph) for value in node.outputs):
            return []
        return [reader for value in node.outputs for reader in own_consumers(value, self.graph)]


def _decide(node: ir.Node, flow: _Flow) -> NodePlan:
    if node.name not in flow.nodes:
        return NodePlan(name_of(node), node.op_type, "float", "float", *flow.refused.get(name_of(node), Why(Cause.NO_KERNEL)))
    rounds: Literal["int8", "float"] = "int8" if flow.rounds(node) else "float"
    cause = Cause.WEIGHTS if node.op_type in WEIGHTED else Cause.BETWEEN
    return NodePlan(name_of(node), node.op_type, "int8", rounds, cause)


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
