"""Apply a plan: insert QuantizeLinear/DequantizeLinear pairs where it says that tensors are rounded.

    x → Conv (W, b) → y          x → Q → DQ → Conv (W₈ → DQ, b₃₂ → DQ) → y → Q → DQ →

Activations   A tensor whose producer rounds is rounded for all consumers; one that stays in floating point is rounded for
              the integer nodes alone, so that a residual stream, say, keeps its digits:

                  LayerNorm → x → Q → DQ → MatMul
                                ↘ Add (reads x itself)
Shared        Reshape, MaxPool and their kind give values that they were given: input and output have one scale.
Relu, Clip    behind a node that rounds are what the grid does anyway; they go, if the zero point is free.
Weights       are stored as integers behind a DequantizeLinear, with a scale per output channel where the target takes it.
Biases        lie on the grid of the sums, s_x · s_w, in 32 bits; weights whose sums have no room for it get a larger scale.
16 bits       A node computes in 16 bits where any of its inputs or outputs has them. Where a tensor is stored in one type
              and read in another, it is converted:

                  x → Q₈ → DQ₈ → 8-bit nodes         Q₈ → DQ₈ → Q₁₆ → DQ₁₆ → 16-bit nodes
Floats        onnxruntime quantizes, on its own, the weights of every Conv and Gemm between a DequantizeLinear and a
              QuantizeLinear; a Sum of one before a node that is to stay in floating point keeps it from that. The same
              between an integer Gemm that outputs floats and an activation function: else both become one FusedGemm of floats.
Moved pairs   onnxruntime adds a pair behind MaxPool, Reshape and their kind between dequantized values and floating nodes.
              From opset 21 on that pair says its type, which x86 then changes from signed to unsigned in one of two places: the
              file does not load. So a signed pair on the grid of the input is written there, which adds no error.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeopt.errors import InternalError
from edgeopt.graph.editing import add_initializer, copied, fresh_name, import_contrib_operators, opset_of, remove_unused
from edgeopt.graph.matching import array, attribute, constant, is_float, own_consumers
from edgeopt.quantize.affine import Affine, IntegerType, limits
from edgeopt.quantize.plan.cause import Cause
from edgeopt.quantize.plan.operands import NORMALIZATIONS, REMOVABLE, channel_axis, operands
from edgeopt.quantize.plan.plan import NodePlan, Plan

_WIDE_OPSET = 21  # before it, only onnxruntime's contrib QuantizeLinear has 16 bits
_WIDE = {"int16", "uint16"}
_REQUANTIZED = ("Conv", "ConvTranspose", "Gemm")
_FUSED_INTO_GEMM = {
    "Elu", "HardSigmoid", "LeakyRelu", "Relu", "Selu", "Sigmoid", "Softplus", "Softsign", "Tanh", "ThresholdedRelu"
}  # fmt: skip
_MOVED_THROUGH = {"MaxPool", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}
"""Operators behind which onnxruntime moves the DequantizeLinear in front of them."""
_TYPED_OPSET = 21  # from it on, QuantizeLinear has `output_dtype`
_CONTRIB = "com.microsoft"


def insert_qdq(model: ir.Model, plan: Plan) -> ir.Model:
    """Return the quantized form of `model`.

    Args:
        model: prepared (and smoothed), floating point; it is not changed.
        plan: with a range for every tensor that its integer nodes read or give rounded.

    Raises:
        InternalError: a tensor that is to be rounded has no range.
    """
    if not plan.integer_nodes:
        return model
    made = copied(model)
    _Insertion(made, plan).run()
    return made


@dataclass(frozen=True)
class _Pair:
    """How a tensor is rounded: the parameters, and the constants that hold them."""

    affine: Affine
    scale: ir.Value
    zero: ir.Value


@dataclass
class _Weight:
    """A constant that becomes integers, under one set of parameters, and the nodes that read it so."""

    value: ir.Value
    affine: Affine
    readers: list[ir.Node]


class _Insertion:
    def __init__(self, model: ir.Model, plan: Plan) -> None:
        self.model, self.graph, self.plan = model, model.graph, plan
        plans = {node.name: node for node in plan.integer_nodes}
        self.ranges = {tensor.name: tensor for tensor in plan.tensors}
        self.nodes = {node: plans[node.name] for node in self.graph if node.name in plans}
        self.roles = {node: operands(node) for node in self.nodes}
        self.own: set[ir.Value] = set()
        """Results that keep a range of their own although their producer shares that of its input."""
        self.default = cast("IntegerType", plan.scheme.activation)
        if self.default == "int8" and opset_of(model) >= _TYPED_OPSET:
            self._add_moved_through()
        self.wide = {node for node in self.graph if self._touches_wide(node)}
        self.node_names = {node.name for node in self.graph}
        self.pairs: dict[ir.Value, _Pair] = {}
        self.converted: dict[ir.Value, _Pair] = {}
        sixteen = bool(self.wide) or {plan.scheme.activation, plan.scheme.weight} & _WIDE
        self.domain = _CONTRIB if sixteen and opset_of(model) < _WIDE_OPSET else ""

    def run(self) -> None:
        """Edit the graph."""
        order = list(self.nodes)
        self._remove_activation_functions()
        rounded = dict.fromkeys(value for node in order if node in self.nodes for value in self._touched(node))
        for value in rounded:
            self._pair_of(value)
        weights = self._weights()
        biases = list(self._biases(weights))
        for node, affine in biases:
            self._write_bias(node, affine)
        for weight in weights.values():
            self._write_weight(weight)
        for value in rounded:
            self._round(value)
        self._guard_floats()
        remove_unused(self.model)
        if self.domain:
            import_contrib_operators(self.model)

    # what is rounded, and how

    def _add_moved_through(self) -> None:
        """Have nodes that only move what they were given round it by the same grid, if no integer node reads them."""
        for node in self.graph:
            given = node.inputs[0] if node.inputs else None
            if given is None or node in self.nodes or node.domain or node.op_type not in _MOVED_THROUGH:
                continue
            readers = own_consumers(node.outputs[0], self.graph)
            if self._rounds(given) and not any(reader in self.nodes for reader in readers):
                self.nodes[node] = NodePlan(node.name or "", node.op_type, "int8", "int8", Cause.BETWEEN)
                self.roles[node] = operands(node)

    def _touches_wide(self, node: ir.Node) -> bool:
        names = [value.name for value in (*node.inputs, *node.outputs) if value is not None and is_float(value)]
        return any(name in self.ranges and self.ranges[name].dtype != self.default for name in names if name)

    def _type_at(self, node: ir.Node | None) -> IntegerType:
        """Return the type that a node computes in; that of model inputs for None."""
        if node not in self.wide:
            return self.default
        return "int16" if self.default == "int8" else "uint16" if self.default == "uint8" else self.default

    def _stored(self, value: ir.Value) -> IntegerType:
        """Return the type in which a tensor is rounded first."""
        producer = value.producer()
        if producer in self.wide:
            return self._type_at(producer)
        tensor = self.ranges.get(value.name or "")
        return tensor.dtype if tensor is not None else self.default

    def _reads(self, node: ir.Node) -> Iterator[tuple[int, ir.Value]]:
        """Yield the positions at which an integer node reads rounded activations, and the tensors there."""
        reads = self.nodes[node].reads
        for place in self.roles[node].activations:
            value = node.inputs[place]
            if value is not None and is_float(value) and (not reads or value.name in reads):
                yield place, value

    def _touched(self, node: ir.Node) -> Iterator[ir.Value]:
        """Yield the inputs that the node reads rounded, and its outputs where it rounds."""
        yield from (value for _, value in self._reads(node))
        if self.nodes[node].output != "float":
            yield from (node.outputs[place] for place in self.roles[node].outputs)

    def _rounds(self, value: ir.Value) -> bool:
        """Return whether the producer of a tensor rounds it for all consumers."""
        producer = value.producer()
        return producer in self.nodes and self.nodes[producer].output != "float"

    def _pair_of(self, value: ir.Value) -> _Pair:
        """Return how a tensor is rounded where it is stored."""
        if value not in self.pairs:
            producer = value.producer()
            if producer in self.nodes and self.roles[producer].shares and value not in self.own:
                self.pairs[value] = self._read_by(producer, self._given(producer))
            else:
                self.pairs[value] = self._named(value, self._affine(value, self._stored(value)))
        return self.pairs[value]

    def _read_by(self, node: ir.Node, value: ir.Value) -> _Pair:
        """Return how a node reads a tensor: as it is stored, or converted to the type in which the node computes."""
        stored = self._pair_of(value)
        wanted = self._type_at(node)
        if stored.affine.dtype == wanted or constant(value) is not None:
            return stored
        if value not in self.converted:
            self.converted[value] = self._named(value, self._affine(value, wanted), "_convert")
        return self.converted[value]

    def _affine(self, value: ir.Value, dtype: IntegerType) -> Affine:
        """Return the parameters of an activation from its range; of a constant from its values."""
        symmetric = self.plan.scheme.symmetric_activation
        values = array(value)
        if values is not None:
            return Affine.of_values(values, self.default, axis=None, symmetric=symmetric)
        tensor, producer = self.ranges.get(value.name or ""), value.producer()
        if tensor is None:
            raise InternalError(
                f"the plan rounds the tensor '{value.name}' and has no range for it; please report it with the model"
            )
        if producer in self.nodes and producer.op_type == "Softmax":
            tensor = replace(tensor, low=0.0, high=1.0)  # its whole range, whatever the samples show
        kind = np.float16 if value.dtype == ir.DataType.FLOAT16 else np.float32
        return Affine.of_range(tensor.low, tensor.high, dtype, symmetric=symmetric, kind=kind)

    def _named(self, value: ir.Value, affine: Affine, suffix: str = "") -> _Pair:
        """Add the constants of a pair, called after the tensor."""
        middle, end = (suffix, "") if affine.dtype == "int32" else ("", suffix)
        scale = add_initializer(self.graph, f"{value.name}{middle}_scale{end}", affine.scale)
        zero = add_initializer(self.graph, f"{value.name}{middle}_zero_point{end}", affine.zero)
        return _Pair(affine, scale, zero)

    # edits

    def _remove_activation_functions(self) -> None:
        """Let a node that rounds produce the output of the Relu or Clip behind it, under that tensor's name."""
        if self.plan.scheme.symmetric_activation:
            return
        for node in [node for node in self.nodes if node.op_type in REMOVABLE]:
            given, result = node.inputs[0], node.outputs[0]
            if given is None or not self._is_absorbed(node, given, result):
                continue
            name = result.name
            result.name = fresh_name(self.graph, f"{name}_removed")
            result.replace_all_uses_with(given, replace_graph_outputs=True)
            given.name, given.shape, given.type = name, result.shape, result.type
            self.own.add(given)
            self.graph.remove(node, safe=True)
            del self.nodes[node], self.roles[node]

    def _is_absorbed(self, node: ir.Node, given: ir.Value, result: ir.Value) -> bool:
        producer = given.producer()
        alone = len(list(given.uses())) == 1 and not given.is_graph_output() and not given.is_graph_input()
        if producer not in self.nodes or not alone or result.name not in self.ranges or not self._rounds(given):
            return False
        kinds = {self._type_at(producer), *(self._type_at(reader) for reader in own_consumers(result, self.graph))}
        return node.name is not None and len(kinds | {self._stored(given), self._stored(result)}) == 1

    def _round(self, value: ir.Value) -> None:
        """Insert the pairs of one activation and connect their consumers."""
        uses = [use for use in value.uses() if use.node.graph is self.graph]
        rounds = self._rounds(value)
        if not rounds:
            uses = [use for use in uses if use.node in self.nodes and (use.idx, value) in self._reads(use.node)]
        is_output = rounds and value.is_graph_output()
        if not uses and not is_output:
            return
        if constant(value) is not None:
            _read_instead(uses, self._constant(value, self._pair_of(value)))
            return
        stored = self._pair_of(value)
        name = value.name or ""
        if is_output:
            value.name = fresh_name(self.graph, f"{name}_QuantizeLinear_Input")
        integers, after = self._insert("QuantizeLinear", value, stored, name, value.producer())
        plain = [use for use in uses if self._wants(use.node, stored)]
        if plain or is_output:
            result, after = self._insert("DequantizeLinear", integers, stored, name, after)
            if is_output:
                result.name = name
                self.graph.outputs[:] = [result if item is value else item for item in self.graph.outputs]
            _read_instead(plain, result)
        others = [use for use in uses if use not in plain]
        if others:
            _read_instead(others, self._convert(value, integers, stored, name, after))

    def _wants(self, node: ir.Node, stored: _Pair) -> bool:
        """Return whether a node reads a tensor in the type in which it is stored; floating-point nodes do."""
        return node not in self.nodes or self._type_at(node) == stored.affine.dtype

    def _convert(self, value: ir.Value, integers: ir.Value, stored: _Pair, name: str, after: ir.Node) -> ir.Value:
        """Return the tensor in the other type: dequantized from the type it is stored in, and quantized again."""
        reader = next(use.node for use in value.uses() if use.node in self.nodes and not self._wants(use.node, stored))
        wanted = self._read_by(reader, value)
        between, after = self._insert("DequantizeLinear", integers, stored, f"{name}_convert_clone", after)
        again, after = self._insert("QuantizeLinear", between, wanted, f"{name}_convert", after)
        return self._insert("DequantizeLinear", again, wanted, f"{name}_convert", after)[0]

    def _insert(self, op: str, value: ir.Value, pair: _Pair, name: str, after: ir.Node | None) -> tuple[ir.Value, ir.Node]:
        """Insert half a pair behind a node (None: at the front); return its result and the node."""
        node = self._half(op, value, pair, name)
        if after is not None:
            self.graph.insert_after(after, node)
        else:
            self.graph.insert_before(self.graph[0], node)
        return node.outputs[0], node

    def _half(self, op: str, value: ir.Value, pair: _Pair, name: str) -> ir.Node:
        """Return a QuantizeLinear or DequantizeLinear, in no graph yet."""
        attributes = {} if pair.affine.axis is None else {"axis": pair.affine.axis}
        node = ir.node(op, [value, pair.scale, pair.zero], attributes, domain=self.domain, name=self._node_name(f"{name}_{op}"))
        result: ir.Value = node.outputs[0]
        result.name = fresh_name(self.graph, f"{name}_{op}_Output")
        kind = pair.zero.dtype if op == "QuantizeLinear" else pair.scale.dtype
        result.type, result.shape = (ir.TensorType(kind) if kind is not None else None), value.shape
        return node

    def _node_name(self, base: str) -> str:
        name, number = base, 1
        while name in self.node_names:
            name, number = f"{base}_{number}", number + 1
        self.node_names.add(name)
        return name

    # constants

    def _weights(self) -> dict[tuple[Any, ...], _Weight]:
        """Return the weights of the integer nodes, each once for every way in which it is rounded."""
        found: dict[tuple[Any, ...], _Weight] = {}
        for node, plan in self.nodes.items():
            place = self.roles[node].weight
            value = node.inputs[place] if place is not None else None
            values = array(value)
            if value is None or values is None or not is_float(value):
                continue
            key = (value, *self._weight_kind(node, plan))
            if key not in found:
                found[key] = _Weight(value, self._weight_affine(values, *key[1:]), [])
            found[key].readers.append(node)
        return found

    def _weight_kind(self, node: ir.Node, plan: NodePlan) -> tuple[IntegerType, int | None, bool, bool]:
        """Return integer type, channel axis, symmetry and whether a bit is left out."""
        scheme = self.plan.scheme
        dtype = cast("IntegerType", scheme.weight)
        if node.op_type in NORMALIZATIONS:
            other = scheme.norm_weight != scheme.weight
            return cast("IntegerType", scheme.norm_weight), None, scheme.symmetric_weight and not other, False
        channels = scheme.has_channels(node.op_type)
        axis = channel_axis(node) if channels else None
        return dtype, axis, scheme.symmetric_weight or channels, plan.reduce_range

    @staticmethod
    def _weight_affine(
        values: NDArray[Any],
        dtype: IntegerType,
        axis: int | None,
        symmetric: bool,
        reduced: bool,
    ) -> Affine:
        return Affine.of_values(values, dtype, axis=axis, symmetric=symmetric, reduced=reduced)

    def _biases(self, weights: dict[tuple[Any, ...], _Weight]) -> Iterator[tuple[ir.Node, Affine]]:
        """Yield the nodes whose bias becomes integers, with its parameters; weights get the room that the biases need."""
        if self.plan.scheme.bias != "int32":
            return
        read = {node: weight for weight in weights.values() for node in weight.readers}
        biased = [(node, value) for node in self.nodes for value in [self._bias(node)] if value is not None]
        for node, bias in biased:
            weight = read.get(node)
            if weight is not None and limits(weight.affine.dtype)[0] < 0 and not weight.affine.zero.any():
                given = self._read_by(node, self._given(node)).affine
                values = _for_channels(bias, weight.affine)
                weight.affine = weight.affine.with_room_for(values, given)
        for node, bias in biased:
            given = self._read_by(node, self._given(node)).affine
            weight = read.get(node)
            factor = weight.affine if weight is not None else self._read_by(node, cast("ir.Value", node.inputs[1])).affine
            yield node, _spread(Affine.of_bias(given, factor), bias.size)

    def _given(self, node: ir.Node) -> ir.Value:
        return cast("ir.Value", node.inputs[0])

    def _bias(self, node: ir.Node) -> NDArray[Any] | None:
        """Return the bias that a node adds to its sums, the factor beta of a Gemm in it."""
        place = self.roles[node].bias
        values = array(node.inputs[place]) if place is not None else None
        if values is None:
            return None
        beta = attribute(node, "beta", 1.0) if node.op_type == "Gemm" else 1.0
        return values if beta == 1.0 else (values * beta).astype(values.dtype)

    def _write_bias(self, node: ir.Node, affine: Affine) -> None:
        place, values = self.roles[node].bias, self._bias(node)
        if place is None or values is None:
            return
        bias = cast("ir.Value", node.inputs[place])
        flat = affine if affine.axis is None else replace(affine, axis=values.ndim - 1)
        pair = self._named(bias, flat, "_quantized")
        node.replace_input_with(place, self._constant(bias, pair, values))
        node.attributes.pop("beta", None)

    def _write_weight(self, weight: _Weight) -> None:
        result = self._constant(weight.value, self._named(weight.value, weight.affine))
        for node in weight.readers:
            node.replace_input_with(1, result)

    def _constant(self, value: ir.Value, pair: _Pair, values: NDArray[Any] | None = None) -> ir.Value:
        """Return a constant (or other `values` in its place) as a DequantizeLinear of integers gives it."""
        values = array(value) if values is None else values
        if values is None:
            raise InternalError(f"'{value.name}' is not a constant; please report it with the model")
        integers = add_initializer(self.graph, f"{value.name}_quantized", pair.affine.quantize(values))
        return self._insert("DequantizeLinear", integers, pair, value.name or "", None)[0]

    def _guard_floats(self) -> None:
        """Keep onnxruntime from quantizing what is to stay in floating point, and from computing in floats what is not."""
        for node in list(self.graph):
            given = node.inputs[0] if node.inputs else None
            producer = given.producer() if given is not None else None
            if given is None or producer is None or node in self.nodes:
                continue
            requantized = node.op_type in _REQUANTIZED and producer.op_type == "DequantizeLinear"
            fused = node.op_type in _FUSED_INTO_GEMM and producer.op_type == "Gemm" and producer in self.nodes
            if not requantized and not fused:
                continue
            guard = ir.node("Sum", [given], name=self._node_name(f"{node.name}_input"))
            guard.outputs[0].name = fresh_name(self.graph, f"{node.name}_input")
            guard.outputs[0].type, guard.outputs[0].shape = given.type, given.shape
            self.graph.insert_before(node, guard)
            node.replace_input_with(0, guard.outputs[0])


def _read_instead(uses: Sequence[Any], value: ir.Value) -> None:
    for use in uses:
        use.node.replace_input_with(use.idx, value)


def _for_channels(bias: NDArray[Any], weight: Affine) -> NDArray[Any]:
    """Return the largest bias of each channel that has a weight scale (of a grouped ConvTranspose several share one)."""
    if not weight.scale.ndim:
        return bias
    return np.asarray(np.abs(bias).reshape(-1, weight.scale.size).max(axis=0))


def _spread(affine: Affine, size: int) -> Affine:
    """Return the parameters of a bias of `size` values, where the scales are those of fewer weight channels."""
    if not affine.scale.ndim or affine.scale.size == size:
        return affine
    times = size // affine.scale.size
    return replace(affine, scale=np.tile(affine.scale, times), zero=np.tile(affine.zero, times))
