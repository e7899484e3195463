"""Where integers flow: which nodes run on integers and where values are rounded, by the rules of a target.

For providers that run kernel by kernel (`placement = "kernels"`), rounding an activation costs accuracy, converting between
float and integers costs time; both pay only where a kernel gains from integers. So
1. the nodes that multiply by constant weights (Conv, Gemm, MatMul …) run on integers;
2. cheap nodes between them (Relu, Add, Concat, MaxPool, Reshape …) stay on integers when everything they read is, and when an
   integer node reads, directly or through more of their kind, what they give: otherwise the chain leads out into floating
   point anyway, and rounding earlier would only add noise;
3. MatMul and Gemm give floats when a float node reads them (their kernels add bias and scale from the 32-bit sums without
   rounding to 8 bits), and so do the projections of linear bottlenecks when a float Add reads them, where the target computes
   them as matrix products (see `bottleneck.py`); other Conv kernels always round their output.
A residual stream between LayerNormalizations thus stays in floating point, and a convolutional net runs on integers throughout.
The other placements, for providers that compile whole graphs, are in `compiled.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import onnx

from edgeopt.graph.index import GraphIndex
from edgeopt.quantize.plan import compiled
from edgeopt.quantize.plan.bottleneck import bottleneck_sums, is_projection
from edgeopt.quantize.plan.cause import Cause, Why
from edgeopt.quantize.plan.eligible import WEIGHTED, is_floating, weight_objection
from edgeopt.quantize.plan.infinite import infinite_operand
from edgeopt.quantize.plan.plan import NodePlan
from edgeopt.quantize.plan.stem import picture_stem
from edgeopt.targets.target import Rules

MOVING = {"Flatten", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"}
ABSORBED = {"Relu", "Clip"}
ALWAYS_ROUNDED = {"Conv", "ConvTranspose"}
_FREE_OUTPUT = {"Gemm", "MatMul"}
_DEFAULT_RULES = Rules()


def place(model: onnx.ModelProto, floating: Mapping[str, Why], rules: Rules = _DEFAULT_RULES) -> tuple[NodePlan, ...]:
    """Decide for every floating-point node of the main graph; those named in `floating` are exceptions, each with its cause.

    More exceptions never bring another node to integers.
    """
    index = GraphIndex(model.graph)
    nodes = [node for node in model.graph.node if is_floating(node, index)]
    if rules.placement == "everywhere":
        return tuple(compiled.decide_everywhere(node, index, floating, rules) for node in nodes)
    if rules.placement == "inputs":
        return tuple(compiled.decide_inputs(node, index, floating, rules) for node in nodes)
    flow = _Flow(index, floating, rules)
    return tuple(_decide(node, flow) for node in nodes)


class _Flow:
    """The integer nodes, found by one pass forward and one back."""

    def __init__(self, index: GraphIndex, floating: Mapping[str, Why], rules: Rules) -> None:
        self.index = index
        self.floating = floating
        self.rules = rules
        self.stem = picture_stem(index) if rules.float_stem else ()
        self.sums = bottleneck_sums(index) if rules.float_sums else frozenset()
        self.flowing = frozenset(rules.ops)
        self.refused: dict[str, Why] = {}
        self.nodes: set[str] = set()
        nodes = list(index.graph.node)
        for node in nodes:
            if self._may(node):
                self.nodes.add(node.name)
        for node in reversed(nodes):
            if node.name in self.nodes and node.op_type in self.flowing and not self._leads_to_integers(node):
                if self._bounds(node):
                    continue
                self.nodes.discard(node.name)
                self.refused[node.name] = Why(Cause.READ_BY_FLOATS)

    def _may(self, node: onnx.NodeProto) -> bool:
        if node.domain not in {"", "ai.onnx"} or not is_floating(node, self.index):
            return False
        why = self._objection(node)
        if why is not None:
            self.refused[node.name] = why
        return why is None

    def _objection(self, node: onnx.NodeProto) -> Why | None:
        if node.name in self.floating:
            return self.floating[node.name]
        if node.name in self.stem:
            return Why(Cause.STEM)
        if node.name in self.sums:
            return Why(Cause.SUM)
        if node.op_type in WEIGHTED:
            return weight_objection(node, self.index)
        if node.op_type not in self.flowing:
            return Why(Cause.NOT_WORTH, node.op_type)
        floats = self.index.activations(node)
        made = [self.index.producer.get(name) for name in floats]
        if not floats or any(maker is None or maker.name not in self.nodes for maker in made):
            return Why(Cause.FED_FLOATS)
        infinite = infinite_operand(node, self.index)
        return Why(Cause.INFINITE, infinite) if infinite else None

    def _leads_to_integers(self, node: onnx.NodeProto) -> bool:
        return any(reader.name in self.nodes for name in node.output for reader in self.index.consumers[name])

    def _bounds(self, node: onnx.NodeProto) -> bool:
        """Tell whether the node is an activation function behind a kernel that always rounds: its range is the narrower one."""
        maker = self.index.producer.get(node.input[0]) if node.op_type in ABSORBED else None
        return maker is not None and maker.op_type in ALWAYS_ROUNDED and self.index.feeds_only(node.input[0], node)

    def rounds(self, node: onnx.NodeProto) -> bool:
        """Tell whether the integer node's output is rounded to integers."""
        readers = self.readers(node)
        if node.op_type in _FREE_OUTPUT:
            return bool(readers) and all(reader.name in self.nodes for reader in readers)
        floating = any(reader.op_type == "Add" and reader.name not in self.nodes for reader in readers)
        return not (floating and self.rules.pointwise_products and is_projection(node, self.index))

    def readers(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """Return who reads the node's outputs; nobody, if it is an output of the graph as well."""
        if any(name in self.index.outputs or name in self.index.captured for name in node.output):
            return []
        return [reader for name in node.output for reader in self.index.consumers[name]]


def _decide(node: onnx.NodeProto, flow: _Flow) -> NodePlan:
    if node.name not in flow.nodes:
        return NodePlan(node.name, node.op_type, "float", "float", *flow.refused.get(node.name, Why(Cause.NO_KERNEL)))
    rounds: Literal["int8", "float"] = "int8" if flow.rounds(node) else "float"
    cause = Cause.WEIGHTS if node.op_type in WEIGHTED else Cause.BETWEEN
    return NodePlan(node.name, node.op_type, "int8", rounds, cause)


def rounded_tensors(model: onnx.ModelProto, nodes: Iterable[NodePlan]) -> tuple[str, ...]:
    """Return the activations that the plan rounds to integers: what integer nodes read, and give where they round."""
    plans = {plan.name: plan for plan in nodes if plan.precision != "float"}
    index = GraphIndex(model.graph)
    names: dict[str, None] = {}
    for node in model.graph.node:
        plan = plans.get(node.name)
        if plan is None:
            continue
        reads = list(plan.reads) or index.activations(node)
        for name in reads + (list(node.output) if plan.output != "float" else []):
            if index.is_float(name):
                names[name] = None
    return tuple(names)
