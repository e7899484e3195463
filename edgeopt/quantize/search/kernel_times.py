"""How long a plan takes on a target: a sum over kernels of what each costs there, in floating point or on integers.

A kernel's time is node + MACs · mac + output elements · element, with the constants of the target's file (`Costs`). Beside the
plan's nodes count the conversions between them: QuantizeLinear where an integer node reads floats, DequantizeLinear where a
floating one reads integers, and the changes of layout around convolutions: integer ones run channels last, floating ones in
blocks of channels. The constants are fitted to profiles (benchmarks/quantize/kernel_costs.py); only differences between
placements of one model are used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
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
NARROW = 16
"""Integer convolutions of windows with fewer channels at the output are `Conv.narrow`."""


class KernelTimes:
    """Predicts the time of any placement of one model's nodes; what each part costs in each form is computed once."""

    def __init__(self, model: ir.Model, sample: Batch, costs: Costs) -> None:
        """Take shapes and multiply-accumulates of `model`, which is not changed, from one real batch."""
        nodes = list(model.graph)
        self._costs = costs
        self._macs = count_macs(model, sample)
        values = [
            value for node in nodes for value in node.outputs if isinstance(value.type, ir.TensorType) and is_float(value)
        ]
        shapes = tensor_shapes(model, sample, [name_of(value) for value in values])
        self._elements = {value: prod(shapes[name_of(value)]) for value in values}
        self._images = {value for value in values if len(shapes[name_of(value)]) == _IMAGE_RANK}
        pairs = [(node, product) for node in nodes if (product := silu(node)) is not None]
        self._products = dict(pairs)
        self._gates = {product: node for node, product in pairs}
        self._kernels = [kernel for node in nodes if (kernel := self._kernel(node)) is not None]
        self._conversions = [self._conversion(value) for value in self._elements]
        self._layouts = [self._layout(node) for node in nodes]
        self._edges = {name_of(value): self._edge(value) for value in self._elements}

    def integer_macs(self, integer: Iterable[str]) -> int:
        """Return the multiply-accumulates of these nodes."""
        return sum(self._macs.get(name, 0) for name in integer)

    def total_us(self, plan: Iterable[NodePlan]) -> float:
        """Return the predicted microseconds of a run under the placement."""
        return self.us({node.name: node.output != "float" for node in plan if node.precision != "float"})

    def us(self, integer: Mapping[str, bool]) -> float:
        """Return the predicted microseconds with these nodes on integers, each with whether its output is rounded."""
        total = 0.0
        for kernel in self._kernels:
            if kernel.name in integer:
                total += kernel.integer_us
            elif kernel.pair is None or kernel.pair in integer:
                total += kernel.floating_us
            else:
                total += kernel.fused_us
        for item in self._conversions:
            if integer.get(item.producer, False):
                if item.is_output or not integer.keys() >= item.readers:
                    total += item.out_us
            elif not integer.keys().isdisjoint(item.readers):
                total += item.into_us
        return total + self._reorder_us(integer)

    def _kernel(self, node: ir.Node) -> _Kernel | None:
        first = node.inputs[0] if node.inputs else None
        producer = first.producer() if first is not None else None
        if node.op_type in ABSORBED and producer is not None and producer.op_type in {"Conv", "Gemm"}:
            return None
        kind, pair = _kind(node), self._products.get(node) or self._gates.get(node)
        fused = 0.0 if node in self._products else self._node_us(node, "SiLU", self._costs.floating)  # it counts as the Mul
        return _Kernel(
            name_of(node),
            self._node_us(node, kind, self._costs.integer),
            self._node_us(node, kind, self._costs.floating),
            name_of(pair) if pair is not None else None,
            fused,
        )

    def _node_us(self, node: ir.Node, kind: str, table: Mapping[str, KernelCost]) -> float:
        cost = table.get(kind) or table.get(node.op_type) or self._costs.floating.get(node.op_type) or table.get("*")
        return _us(cost, self._elements.get(node.outputs[0], 0), self._macs.get(name_of(node), 0))

    def _conversion(self, value: ir.Value) -> _Conversion:
        """Return the times of the QuantizeLinear or DequantizeLinear behind a tensor, with the Transpose beside it."""
        turn = _us(self._costs.integer.get("Transpose"), self._elements[value]) if value in self._images else 0.0
        kinds = ("QuantizeLinear", "DequantizeLinear")
        into, out = (_us(self._costs.integer.get(kind), self._elements[value]) for kind in kinds)
        producer = value.producer()
        return _Conversion(
            name_of(producer) if producer is not None else "",
            frozenset(name_of(reader) for reader in value.consumers()),
            value.is_graph_output(),
            into + turn,
            out + turn,
        )

    def _layout(self, node: ir.Node) -> _Layout:
        read = activations(node)
        return _Layout(
            name_of(node),
            tuple(name_of(value) for value in node.outputs),
            tuple(name_of(value) for value in read),
            node.op_type in _BLOCKED,
            node.op_type in _KEEPING and bool(read),
            bool(read) and not read[0].is_graph_input(),
        )

    def _edge(self, value: ir.Value) -> _Edge:
        readers = [tuple(name_of(result) for result in node.outputs) for node in value.consumers()]
        return _Edge(_us(self._costs.floating.get("Reorder"), self._elements[value]), value.is_graph_output(), tuple(readers))

    def _reorder_us(self, integer: Mapping[str, bool]) -> float:
        """Return the time of bringing tensors into the blocked layout of floating-point convolutions, and out of it."""
        if "Reorder" not in self._costs.floating:
            return 0.0
        blocked: set[str] = set()
        total = 0.0
        for item in self._layouts:
            if item.name in integer:
                continue
            keeps = item.may_keep and blocked.issuperset(item.reads)
            if item.blocked or keeps:
                blocked.update(item.outputs)
                if not keeps and item.converts and item.reads[0] not in blocked:
                    total += self._edges[item.reads[0]].reorder_us if item.reads[0] in self._edges else self._smallest_us
        for name, edge in self._edges.items():
            if name in blocked and (edge.is_output or any(blocked.isdisjoint(outputs) for outputs in edge.readers)):
                total += edge.reorder_us
        return total

    @property
    def _smallest_us(self) -> float:
        return _us(self._costs.floating.get("Reorder"), 0)


@dataclass(frozen=True)
class _Kernel:
    """What a node costs: on integers, in floating point, and in floating point as one kernel with its pair (SiLU)."""

    name: str
    integer_us: float
    floating_us: float
    pair: str | None
    fused_us: float


@dataclass(frozen=True)
class _Conversion:
    """What it costs to convert a tensor, by the nodes that give and read it."""

    producer: str
    readers: frozenset[str]
    is_output: bool
    into_us: float
    """To integers."""
    out_us: float
    """To floats."""


@dataclass(frozen=True)
class _Layout:
    """What a node reads and gives, and what it does to the layout."""

    name: str
    outputs: tuple[str, ...]
    reads: tuple[str, ...]
    blocked: bool
    may_keep: bool
    converts: bool
    """Whether the first tensor that it reads may have to be reordered."""


@dataclass(frozen=True)
class _Edge:
    """What reordering a tensor costs, and the outputs of the nodes that read it."""

    reorder_us: float
    is_output: bool
    readers: tuple[tuple[str, ...], ...]


def _us(cost: KernelCost | None, elements: int, macs: int = 0) -> float:
    return 0.0 if cost is None else cost.node_us + (cost.mac_ps * macs + cost.element_ps * elements) * 1e-6


def _kind(node: ir.Node) -> str:
    """Return the operator, and for convolutions which of its kernels it runs in."""
    tensor = constant(node.inputs[1]) if node.op_type == "Conv" else None
    if tensor is None:
        return node.op_type
    channels, _, *window = tensor.shape.numpy()
    if is_depthwise(node):
        return "Conv.depthwise"
    if all(size == 1 for size in window):
        return "Conv.pointwise"
    return "Conv.narrow" if channels < NARROW else "Conv"
