"""How long a plan takes on a target: a sum over kernels of what each costs there, in floating point or on integers.

A kernel's time is node + MACs · mac + output elements · element, with the constants of the target's file (`Costs`). Beside the
plan's nodes count the conversions between them: QuantizeLinear where an integer node reads floats, DequantizeLinear where a
floating one reads integers, and the changes of layout around convolutions: integer ones run channels last, floating ones in
blocks of channels. The constants are fitted to profiles (benchmarks/quantize/kernel_costs.py); only differences between
placements of one model are used.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

import onnx_ir as ir

from edgeopt.batches import Batch
from edgeopt.graph.macs import count_macs, tensor_shapes
from edgeopt.graph.matching import activations, constant, is_depthwise, is_float, name_of
from edgeopt.passes.quick_gelu import silu
from edgeopt.quantize.plan.placement import ABSORBED
from edgeopt.quantize.plan.plan import NodePlan
from edgeopt.targets.target import Costs, KernelCost

_BLOCKED = {"AveragePool", "Conv", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"}
"""Floating-point operators with kernels for the blocked layout; elementwise ones between them keep it."""
_KEEPING = {"Add", "Clip", "Concat", "HardSigmoid", "LeakyRelu", "Mul", "Relu", "Sigmoid", "Sum", "Tanh"}
_IMAGE_RANK = 4


class KernelTimes:
    """Predicts the time of any placement of one model's nodes."""

    def __init__(self, model: ir.Model, sample: Batch, costs: Costs) -> None:
        """Take shapes and multiply-accumulates of `model`, which is not changed, from one real batch."""
        self._nodes = list(model.graph)
        self._costs = costs
        self._macs = count_macs(model, sample)
        values = [
            value for node in self._nodes for value in node.outputs if isinstance(value.type, ir.TensorType) and is_float(value)
        ]
        shapes = tensor_shapes(model, sample, [name_of(value) for value in values])
        self._elements = {value: prod(shapes[name_of(value)]) for value in values}
        self._images = {value for value in values if len(shapes[name_of(value)]) == _IMAGE_RANK}
        self._kinds = {node: _kind(node) for node in self._nodes}
        pairs = [(node, product) for node in self._nodes if (product := silu(node)) is not None]
        self._products = dict(pairs)
        self._gates = {product: node for node, product in pairs}

    def integer_macs(self, plan: Iterable[NodePlan]) -> int:
        """Return the multiply-accumulates that run on integers under the placement."""
        return sum(self._macs.get(node.name, 0) for node in plan if node.precision != "float")

    def total_us(self, plan: Iterable[NodePlan]) -> float:
        """Return the predicted microseconds of a run under the placement."""
        plans = {node.name: node for node in plan}
        integer = {node for node in self._nodes if node.name in plans and plans[node.name].precision != "float"}
        rounded = {value for node in integer if plans[name_of(node)].output != "float" for value in node.outputs}
        total = sum(self._node_us(node, integer) for node in self._nodes)
        total += sum(self._conversion_us(value, rounded, integer) for value in self._elements)
        return total + self._reorder_us(integer)

    def _node_us(self, node: ir.Node, integer: set[ir.Node]) -> float:
        first = node.inputs[0] if node.inputs else None
        producer = first.producer() if first is not None else None
        if node.op_type in ABSORBED and producer is not None and producer.op_type in {"Conv", "Gemm"}:
            return 0.0
        kind, table = self._kinds[node], self._costs.integer if node in integer else self._costs.floating
        if (
            node not in integer
            and (pair := self._products.get(node) or self._gates.get(node)) is not None
            and pair not in integer
        ):
            if node in self._products:
                return 0.0  # the pair is one kernel, which counts as the Mul
            kind = "SiLU"
        cost = table.get(kind) or table.get(node.op_type) or self._costs.floating.get(node.op_type) or table.get("*")
        elements = self._elements.get(node.outputs[0], 0)
        return _us(cost, elements, self._macs.get(name_of(node), 0))

    def _conversion_us(self, value: ir.Value, rounded: set[ir.Value], integer: set[ir.Node]) -> float:
        """Return the time of the QuantizeLinear or DequantizeLinear behind a tensor, and of the Transpose beside it."""
        readers = value.consumers()
        if value in rounded:
            converted = value.is_graph_output() or any(reader not in integer for reader in readers)
            kind = "DequantizeLinear"
        else:
            converted = any(reader in integer for reader in readers)
            kind = "QuantizeLinear"
        if not converted:
            return 0.0
        kinds = (kind, "Transpose") if value in self._images else (kind,)
        return sum(_us(self._costs.integer.get(kind), self._elements[value]) for kind in kinds)

    def _reorder_us(self, integer: set[ir.Node]) -> float:
        """Return the time of bringing tensors into the blocked layout of floating-point convolutions, and out of it."""
        cost = self._costs.floating.get("Reorder")
        if cost is None:
            return 0.0
        blocked: set[ir.Value] = set()
        total = 0.0
        for node in self._nodes:
            if node in integer:
                continue
            read = activations(node)
            keeps = node.op_type in _KEEPING and bool(read) and all(value in blocked for value in read)
            if node.op_type in _BLOCKED or keeps:
                blocked.update(node.outputs)
                if not keeps and read and read[0] not in blocked and not read[0].is_graph_input():
                    total += _us(cost, self._elements.get(read[0], 0))
        for value in blocked:
            if value.is_graph_output() or any(not blocked.intersection(node.outputs) for node in value.consumers()):
                total += _us(cost, self._elements.get(value, 0))
        return total


def _us(cost: KernelCost | None, elements: int, macs: int = 0) -> float:
    return 0.0 if cost is None else cost.node_us + (cost.mac_ps * macs + cost.element_ps * elements) * 1e-6


def _kind(node: ir.Node) -> str:
    """Return the operator, and for convolutions which of its kernels it runs in."""
    tensor = constant(node.inputs[1]) if node.op_type == "Conv" else None
    if tensor is None:
        return node.op_type
    if is_depthwise(node):
        return "Conv.depthwise"
    return "Conv.pointwise" if all(size == 1 for size in tensor.shape.numpy()[2:]) else "Conv"
