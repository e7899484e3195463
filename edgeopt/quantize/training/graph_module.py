"""A Q/DQ graph as a PyTorch module: the same operators, the same roundings, with gradients.

    x → QuantizeLinear → DequantizeLinear → Conv ← DequantizeLinear ← w₈      becomes      conv(grid_x(x), grid_w(w), …)

Weights start from the floating-point values that were rounded, or from the integers that the graph has; their grids, those of
activations, biases, and the weights of layers that stay in floating point are parameters. Lookup tables and all other constants
are not trained. `write` puts what was learned back into the graph, which keeps its nodes: what is trained is what is deployed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, cast

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgeopt.errors import ModelError
from edgeopt.graph.editing import replace_constant
from edgeopt.graph.matching import array, constant, is_float, name_of, named_nodes
from edgeopt.quantize.affine import Affine
from edgeopt.quantize.apply.bias import affine_of, dequantized
from edgeopt.quantize.plan.operands import NORMALIZATIONS, WEIGHTED
from edgeopt.quantize.plan.plan import Plan
from edgeopt.quantize.training.grids import Bias, Grid
from edgeopt.quantize.training.operators import OPERATORS, called, operator_of, tensor_of
from edgeopt.quantize.training.steps import Step, advance, computed, steps_of

_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
_HOLDS_WEIGHTS = frozenset({*WEIGHTED, *NORMALIZATIONS, "PRelu", "RMSNormalization", "GroupNormalization"})


class GraphModule(nn.Module):
    """The function of a Q/DQ graph, to be trained."""

    def __init__(self, quantized: ir.Model, floating: ir.Model, plan: Plan, *, at_integers: bool = False) -> None:
        """Translate `quantized`.

        Args:
            quantized: with Q/DQ nodes, as the plan makes it; `write` changes it, nothing else does.
            floating: the model that was rounded, whose nodes have the same names.
            plan: says which weights have 7 bits.
            at_integers: start from the integers that the graph has, as after adaptive rounding, not from the weights before.

        Raises:
            ModelError: it has operators that cannot be trained through; the message names them.
        """
        super().__init__()
        self._model, self._at_integers = quantized, at_integers
        refuse_unknown(quantized)
        self._reduced = {node.name for node in plan.integer_nodes if node.reduce_range}
        self._floating = named_nodes(floating.graph)
        self.grids = nn.ModuleList()
        self.biases = nn.ModuleList()
        self.weights = nn.ParameterList()
        self._grid_of: dict[ir.Value, Grid] = {}
        self._weight_of: dict[ir.Value, tuple[nn.Parameter, Grid]] = {}
        self._bias_of: dict[ir.Value, Bias] = {}
        self._float_of: dict[ir.Value, nn.Parameter] = {}
        self._constants = {value: tensor_of(value) for value in quantized.graph.initializers.values()}
        for node in quantized.graph:
            self._take_grids(node)
        for node in quantized.graph:
            self._take_constants(node)
        self.steps = steps_of(_late_constants(quantized.graph), quantized.graph.outputs, self._operator)

    # translation

    def _take_grids(self, node: ir.Node) -> None:
        """Make the grids of a QuantizeLinear, or of a DequantizeLinear of weights."""
        if node.op_type == _QUANTIZE:
            self._grid(node)
        elif node.op_type == _DEQUANTIZE and (integers := node.inputs[0]) is not None and constant(integers) is not None:
            affine = affine_of(node)
            if affine.dtype == "int32" or integers in self._weight_of:
                return
            symmetric = not affine.zero.any()
            readers = list(node.outputs[0].consumers())
            reduced = any(reader.name in self._reduced for reader in readers)
            grid = Grid(affine, symmetric=symmetric, reduced=reduced)
            self.grids.append(grid)
            values = dequantized(node) if self._at_integers else self._exact(node, readers)
            weight = nn.Parameter(torch.from_numpy(np.array(values, dtype=np.float32)))
            self.weights.append(weight)
            self._weight_of[integers] = weight, grid

    def _grid(self, node: ir.Node) -> Grid:
        """Return the grid of a pair of activations, by its scale."""
        scale = cast("ir.Value", node.inputs[1])
        if scale not in self._grid_of:
            self._grid_of[scale] = Grid(affine_of(node))
            self.grids.append(self._grid_of[scale])
        return self._grid_of[scale]

    def _exact(self, dequantize: ir.Node, readers: Iterable[ir.Node]) -> NDArray[Any]:
        """Return the values that were rounded: the constant at the same place of the floating-point model's node."""
        result = dequantize.outputs[0]
        for reader in readers:
            twin = self._floating.get(name_of(reader))
            for place, value in enumerate(reader.inputs):
                found = array(twin.inputs[place]) if value is result and twin and place < len(twin.inputs) else None
                if found is not None and found.shape == tuple(_shape(dequantize)):
                    return found
        return dequantized(dequantize)

    def _take_constants(self, node: ir.Node) -> None:
        """Make parameters of biases, and of the weights of layers that stay in floating point."""
        if node.op_type == _DEQUANTIZE and (integers := node.inputs[0]) is not None and constant(integers) is not None:
            if integers in self._weight_of or integers in self._bias_of:
                return
            bias = Bias(dequantized(node), self._sums(next(iter(node.outputs[0].consumers()), None)))
            self.biases.append(bias)
            self._bias_of[integers] = bias
        if node.op_type not in _HOLDS_WEIGHTS:
            return
        for value in node.inputs[1:3]:
            if value is not None and constant(value) is not None and is_float(value) and value not in self._float_of:
                weight = nn.Parameter(self._constants[value].clone())
                self.weights.append(weight)
                self._float_of[value] = weight

    def _sums(self, reader: ir.Node | None) -> list[Grid]:
        """Return the grids of a layer's input and weight."""
        found = []
        for value in reader.inputs[:2] if reader is not None else ():
            producer = value.producer() if value is not None else None
            if producer is None or producer.op_type != _DEQUANTIZE:
                return []
            integers, scale = producer.inputs[:2]
            if integers in self._weight_of:
                found.append(self._weight_of[integers][1])
            elif scale in self._grid_of:
                found.append(self._grid_of[scale])
        return found

    def _operator(self, node: ir.Node) -> Callable[..., Any]:
        if node.op_type == _QUANTIZE:
            grid = self._grid(node)
            return lambda x, *_: grid(x)
        if node.op_type == _DEQUANTIZE:
            integers = cast("ir.Value", node.inputs[0])
            if integers in self._weight_of:
                weight, rounding = self._weight_of[integers]
                return lambda *_: rounding(weight)
            if integers in self._bias_of:
                bias = self._bias_of[integers]
                return lambda *_: bias()
            return lambda x, *_: x  # QuantizeLinear has rounded it
        return operator_of(node)

    # use

    @property
    def model(self) -> ir.Model:
        """The Q/DQ graph, which `write` changes."""
        return self._model

    @property
    def outputs(self) -> list[ir.Value]:
        """The graph's outputs."""
        return list(self._model.graph.outputs)

    def forward(self, inputs: Mapping[str, Tensor], watch: frozenset[str] = frozenset()) -> dict[str, Tensor]:
        """Return the model's outputs by name, and the inner tensors called in `watch`."""
        known = self.given(inputs)
        seen: dict[str, Tensor] = {}
        for step in self.steps:
            for value, tensor in self._made(step, known):
                known[value] = tensor
                if value.name in watch:
                    seen[value.name] = tensor
            for value in step.done:
                known.pop(value, None)
        return {**seen, **{name_of(value): self._value(value, known) for value in self.outputs}}

    def advance(self, known: Mapping[ir.Value, Tensor], steps: Iterable[int]) -> dict[ir.Value, Tensor]:
        """Return the values that are alive after some steps, from those that are alive before them."""
        return advance(known, (self.steps[number] for number in steps), self._constant)

    def each(self, inputs: Mapping[str, Tensor], exact: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        """Yield each tensor that has a name in `exact`, in the graph's order, computed from the values that `exact` has.

        So every operator is seen alone: what earlier ones do differently does not reach it.
        """
        known = self.given(inputs)
        for step in self.steps:
            for value, tensor in self._made(step, known):
                name = name_of(value)
                known[value] = exact.get(name, tensor)
                if name in exact:
                    yield name, tensor

    def given(self, inputs: Mapping[str, Tensor]) -> dict[ir.Value, Tensor]:
        """Return the model's inputs as values of the graph."""
        return {value: inputs[name_of(value)] for value in self._model.graph.inputs}

    def _made(self, step: Step, known: Mapping[ir.Value, Tensor]) -> list[tuple[ir.Value, Tensor]]:
        """Return what one operator gives."""
        return computed(step, lambda value: self._value(value, known))

    def _value(self, value: ir.Value, known: Mapping[ir.Value, Tensor]) -> Tensor:
        found = known.get(value)
        return self._constant(value) if found is None else found

    def _constant(self, value: ir.Value) -> Tensor:
        weight = self._float_of.get(value)
        return weight if weight is not None else self._constants[value]

    def weight_of(self, node: ir.Node) -> tuple[nn.Parameter, Grid] | None:
        """Return the weight that a DequantizeLinear gives, with its grid; None where it gives something else."""
        return self._weight_of.get(cast("ir.Value", node.inputs[0])) if node.op_type == _DEQUANTIZE else None

    def bias_of(self, node: ir.Node) -> Bias | None:
        """Return the bias that a DequantizeLinear gives."""
        return self._bias_of.get(cast("ir.Value", node.inputs[0])) if node.op_type == _DEQUANTIZE else None

    def grid_of(self, node: ir.Node) -> Grid | None:
        """Return the grid of a QuantizeLinear."""
        return self._grid(node) if node.op_type == _QUANTIZE else None

    def floats_of(self, node: ir.Node) -> list[nn.Parameter]:
        """Return the trained constants that a node reads in floating point."""
        return [self._float_of[value] for value in node.inputs if value is not None and value in self._float_of]

    def rounded_weights(self) -> list[tuple[nn.Parameter, Grid]]:
        """Return the weights that are rounded, each with its grid."""
        return list(self._weight_of.values())

    def rounded_biases(self) -> list[Bias]:
        """Return the biases that lie on the grid of the sums they are added to."""
        return list(self._bias_of.values())

    def write(self) -> None:
        """Put weights, biases and scales into the Q/DQ graph."""
        for node in self._model.graph:
            if node.op_type == _QUANTIZE:
                _store_affine(node, self._grid(node).affine())
            elif node.op_type == _DEQUANTIZE:
                self._store(node)
        for value, weight in self._float_of.items():
            replace_constant(value, weight.detach().numpy())

    def _store(self, node: ir.Node) -> None:
        integers, scale = node.inputs[:2]
        if integers is None:
            return
        if integers in self._weight_of:
            weight, grid = self._weight_of[integers]
            affine = grid.affine()
            low, high = grid.low.numpy(), grid.high.numpy()
            numbers = affine.quantize(weight.detach().numpy()).astype(np.int64)
            clipped = _clipped(numbers, affine, low, high)
            replace_constant(integers, clipped)
            _store_affine(node, affine)
        elif integers in self._bias_of:
            bias = self._bias_of[integers]
            sums = bias.scale()
            if sums is not None and scale is not None and scale.const_value is not None:
                wanted = np.resize(sums.numpy(), tuple(scale.const_value.shape.numpy()))
                replace_constant(scale, wanted)
            replace_constant(integers, affine_of(node).quantize(bias.values.detach().numpy()))


def _late_constants(nodes: Iterable[ir.Node]) -> Iterator[ir.Node]:
    """Yield nodes in an order in which a DequantizeLinear of constants comes right before the first node that reads it."""
    waiting: dict[ir.Value, ir.Node] = {}
    for node in nodes:
        if node.op_type == _DEQUANTIZE and constant(node.inputs[0]) is not None:
            waiting[node.outputs[0]] = node
            continue
        for value in node.inputs:
            if value in waiting:
                yield waiting.pop(value)
        yield node
    yield from waiting.values()


def _clipped(numbers: NDArray[Any], affine: Affine, low: NDArray[Any], high: NDArray[Any]) -> NDArray[Any]:
    """Return integers within what the grid uses of its type: 7 bits, or no -128."""
    least, most = int((low + affine.zero).max()), int((high + affine.zero).min())
    return np.asarray(np.clip(numbers, least, most))


def _store_affine(node: ir.Node, affine: Affine) -> None:
    scale = cast("ir.Value", node.inputs[1])
    shape = tuple(scale.const_value.shape.numpy()) if scale.const_value is not None else ()
    replace_constant(scale, np.asarray(affine.scale).reshape(shape))


def _shape(dequantize: ir.Node) -> tuple[int, ...]:
    tensor = constant(dequantize.inputs[0])
    return tuple(tensor.shape.numpy()) if tensor is not None else ()


def refuse_unknown(model: ir.Model) -> None:
    """Raise a `ModelError` where an operator has no form in PyTorch; integer operators of Q/DQ graphs have one."""
    known = {*OPERATORS, _QUANTIZE, _DEQUANTIZE, f"com.microsoft.{_QUANTIZE}", f"com.microsoft.{_DEQUANTIZE}"}
    unknown = {called(node): node for node in reversed(list(model.graph)) if called(node) not in known}
    if unknown:
        first = next(reversed(unknown.values()))
        raise ModelError(
            f"cannot train through {', '.join(sorted(unknown))} (first in node '{first.name}'); leave --train out, or replace "
            "the operator before exporting"
        )
