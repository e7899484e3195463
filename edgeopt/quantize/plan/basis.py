"""What a plan follows from, and the plan that follows when other nodes are exceptions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray

from edgeopt.graph.matching import names_of
from edgeopt.quantize.plan.activation_ranges import product_inputs
from edgeopt.quantize.plan.cause import Why
from edgeopt.quantize.plan.placement import place
from edgeopt.quantize.plan.plan import Plan
from edgeopt.quantize.plan.saturation import reduce_where_saturating
from edgeopt.quantize.plan.shared_ranges import follow_ranges, unite_ranges
from edgeopt.targets.target import Quantization


@dataclass(frozen=True)
class PlanBasis:
    """The prepared model, what the target wants and what calibration saw: enough to derive a plan again."""

    model: ir.Model
    quantization: Quantization
    highs: Mapping[str, NDArray[Any]]
    """The largest value of each channel of the activations whose channels were looked at."""
    share_ranges: bool = True

    def derived(self, plan: Plan, floating: Mapping[str, Why]) -> Plan:
        """Return the plan with the nodes named in `floating` as the exceptions.

        Placement is decided again; smoothing stays where an integer product still reads the activation; ranges are shared among
        the nodes that are left; 7-bit weights stay, and are decided for nodes that are new or whose input has another range.
        """
        before = {node.name: node.reduce_range for node in plan.integer_nodes}
        nodes = tuple(
            replace(node, reduce_range=before.get(node.name, False)) if node.precision != "float" else node
            for node in place(self.model, floating, self.quantization.rules)
        )
        read = product_inputs(self.model, nodes)
        smoothing = tuple(item for item in plan.smoothing if item.name in read)
        made = self.shared(replace(plan, nodes=nodes, smoothing=smoothing))
        ranges = {tensor.name: (tensor.low, tensor.high) for tensor in plan.tensors}
        moved = {tensor.name for tensor in made.tensors if ranges.get(tensor.name) != (tensor.low, tensor.high)}
        readers = {node.name for node in self.model.graph if moved.intersection(names_of(node.inputs))}
        return self.reduced(made, {node.name for node in made.integer_nodes if node.name not in before or node.name in readers})

    def shared(self, plan: Plan) -> Plan:
        """Return the plan with equal ranges for equal values, and around the operators for which the target wants that."""
        ops = frozenset(self.quantization.rules.shared) if self.share_ranges else frozenset()
        return follow_ranges(self.model, unite_ranges(self.model, plan, ops) if ops else plan)

    def reduced(self, plan: Plan, names: set[str]) -> Plan:
        """Return the plan with 7-bit weights among the nodes called `names` where the target needs them."""
        policy = self.quantization.reduce_range
        return (
            reduce_where_saturating(self.model, plan, self.highs, names, always=policy == "always")
            if policy != "never"
            else plan
        )
