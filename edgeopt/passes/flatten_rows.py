"""Row-wise layers work on [rows, features]: a bias becomes part of the product, and int8 kernels can absorb it.

A linear layer on [batch, sequence, features] exports as MatMul + Add. On two axes it is one Gemm, which adds the bias while the
product is still in the accumulator; quantized, the bias lives in int32 (QGemm) where a float Add needs a round trip through two
more quantizations. Linear layers, norms and activations do not care which row is which, so whole stretches of the graph between
two attentions run on [batch · sequence, features], with a free Reshape at both ends:

    Before: LayerNormalization(Add(Add(MatMul(a, W), b), r))            all [batch, sequence, features]
    After:  a₂ = Reshape(a, [-1, features]); r₂ = Reshape(r, [-1, features])
            Reshape(LayerNormalization(Add(Gemm(a₂, W, b), r₂)), [batch, sequence, features])

The stretches are grown from the linear layers along all nodes that treat rows alike and have the same two leading axes.
Networks on pictures have short stretches on [batch, height, width, features] (ConvNeXt), where the reshapes cost what Gemm
gains.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir

from edgeopt.graph.editing import add_initializer, new_node, take_over
from edgeopt.graph.matching import attribute, constant, int64, rank
from edgeopt.passes.linear import match_linear

_UNARY = frozenset(
    ("Abs", "Cast", "Clip", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Mish", "Neg")
) | frozenset(("Relu", "Sigmoid", "Softplus", "Sqrt", "Swish", "Tanh"))
_BINARY = frozenset(["Add", "Div", "Max", "Min", "Mul", "Pow", "Sub"])
_LAST_AXIS = frozenset(("LayerNormalization", "RMSNormalization", "Softmax", "Split"))

Leading = tuple[int | ir.SymbolicDim, ...]
"""All axes of a tensor but the last."""


class FlattenRows(ir.passes.InPlacePass):
    """Run row-wise stretches of the graph on two axes and put biases into Gemm."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Flatten every stretch that holds a linear layer."""
        graph = model.graph
        regions: dict[Leading, set[ir.Node]] = {}
        for node in graph:
            layer = match_linear(node)
            leading = _leading(layer.output) if layer is not None else None
            if leading is not None and len(leading) == 2 and node not in regions.setdefault(leading, set()):
                regions[leading] |= _grow(node, leading)
        regions = {leading: region for leading, region in regions.items() if region}
        order = {node: position for position, node in enumerate(graph)}
        for leading, region in regions.items():
            _drop_open_ends(region)
            _flatten(graph, leading, sorted(region, key=lambda node: order[node]))
        for node in list(graph):
            _absorb_bias(graph, node)
        return ir.passes.PassResult(model, modified=bool(regions))


def _leading(value: ir.Value | None) -> Leading | None:
    """Return all axes of `value` but the last, None where its rank or its last axis is unknown."""
    if value is None or value.shape is None or len(value.shape) < 2 or not isinstance(value.shape[-1], int):
        return None
    return tuple(value.shape[:-1])


def _grow(seed: ir.Node, leading: Leading) -> set[ir.Node]:
    """Return the row-wise nodes that are connected to `seed` through tensors with the same leading axes."""
    region: set[ir.Node] = set()
    waiting = [seed]
    while waiting:
        node = waiting.pop()
        if node in region or not _row_wise(node, leading):
            continue
        region.add(node)
        for value in (*node.inputs, *node.outputs):
            if value is not None and _leading(value) == leading:
                producer = value.producer()
                waiting += [*([producer] if producer is not None else []), *value.consumers()]
    return region


def _row_wise(node: ir.Node, leading: Leading) -> bool:
    """Tell whether `node` computes each row of its outputs from the same row of its inputs, and constants."""
    if node.domain or any(_leading(value) != leading for value in node.outputs):
        return False
    if node.op_type == "MatMul":
        return _leading(node.inputs[0]) == leading and constant(node.inputs[1]) is not None and _axes(node.inputs[1]) == 2
    if node.op_type in _BINARY:
        return all(_leading(value) == leading or _flat_constant(value) for value in node.inputs)
    if node.op_type in _UNARY or (node.op_type in _LAST_AXIS and attribute(node, "axis", -1) in {-1, len(leading)}):
        return _leading(node.inputs[0]) == leading and all(_flat_constant(value) for value in node.inputs[1:])
    return False


def _axes(value: ir.Value | None) -> int | None:
    return None if value is None else rank(value)


def _flat_constant(value: ir.Value | None) -> bool:
    """Tell whether `value` is left out, or a constant that is the same for all rows."""
    return value is None or (constant(value) is not None and (_axes(value) or 0) <= 1)


def _drop_open_ends(region: set[ir.Node]) -> None:
    """Take splits whose parts all leave the region out of it: one Reshape before them is less than one after each part."""
    for node in list(region):
        users = {user for value in node.outputs for user in value.consumers()}
        if node.op_type == "Split" and not users & region:
            region.discard(node)


def _flatten(graph: ir.Graph, leading: Leading, region: list[ir.Node]) -> None:
    """Give all tensors of `region` two axes, with a Reshape wherever one enters or leaves."""
    inside = set(region)
    entering = _entering(region, inside, leading)
    if not entering:
        return
    shapes = _Shapes(graph, leading, entering[0], region[0])
    leaving = [value for node in region for value in node.outputs if value.is_graph_output() or set(value.consumers()) - inside]
    for value in entering:
        _enter(graph, value, region)
    for value in leaving:
        _leave(graph, value, inside, shapes)
    for node in region:
        for value in node.outputs:
            value.shape = ir.Shape([_rows(leading), value.shape[-1]]) if value.shape is not None else None
        if node.op_type in _LAST_AXIS:
            node.attributes["axis"] = ir.AttrInt64("axis", -1)


def _entering(region: Iterable[ir.Node], inside: set[ir.Node], leading: Leading) -> list[ir.Value]:
    """Return the tensors that come from outside the region, each once, in the order of the graph."""
    values = (value for node in region for value in node.inputs if _leading(value) == leading)
    return list(dict.fromkeys(value for value in values if value is not None and value.producer() not in inside))


def _enter(graph: ir.Graph, value: ir.Value, region: list[ir.Node]) -> None:
    inside = set(region)
    users = [use for use in value.uses() if use.node in inside]
    width = value.shape[-1] if value.shape is not None else -1
    target = add_initializer(graph, "flat_shape", int64(-1, int(width)))  # type: ignore[arg-type]
    reshape = new_node(users[0].node, "Reshape", [value, target])
    reshape.outputs[0].shape = ir.Shape([_rows(_leading(value) or ()), width])
    reshape.outputs[0].type = value.type
    using = {use.node for use in users}
    graph.insert_before(next(node for node in region if node in using), reshape)
    for use in users:
        use.node.replace_input_with(use.idx, reshape.outputs[0])


def _leave(graph: ir.Graph, value: ir.Value, inside: set[ir.Node], shapes: _Shapes) -> None:
    node = value.producer()
    if node is None or value.shape is None:
        return
    users = [use for use in value.uses() if use.node not in inside]
    reshape = new_node(node, "Reshape", [value, shapes.of(int(value.shape[-1]))])  # type: ignore[arg-type]
    restored = reshape.outputs[0]
    restored.shape, restored.type = value.shape, value.type
    graph.insert_after(node, reshape)
    for use in users:
        use.node.replace_input_with(use.idx, restored)
    for index, output in enumerate(graph.outputs):
        if output is value:
            restored.name, value.name = value.name, f"{value.name}_rows"
            graph.outputs[index] = restored


class _Shapes:
    """Makes the shapes [*leading, width] that tensors get back when they leave; constants where all sizes are known."""

    def __init__(self, graph: ir.Graph, leading: Leading, example: ir.Value, first: ir.Node) -> None:
        self._graph, self._leading, self._first = graph, leading, first
        self._made: dict[int, ir.Value] = {}
        self._example = example
        self._sizes: ir.Value | None = None

    def of(self, width: int) -> ir.Value:
        if width not in self._made:
            self._made[width] = self._make(width)
        return self._made[width]

    def _make(self, width: int) -> ir.Value:
        known = [size for size in self._leading if isinstance(size, int)]
        if len(known) == len(self._leading):
            return add_initializer(self._graph, "row_shape", int64(*known, width))
        if self._sizes is None:
            shape = new_node(self._first, "Shape", [self._example], start=0, end=len(self._leading))
            self._insert(shape, len(self._leading))
            self._sizes = shape.outputs[0]
        last = add_initializer(self._graph, "row_width", int64(width))
        whole = new_node(self._first, "Concat", [self._sizes, last], axis=0)
        self._insert(whole, len(self._leading) + 1)
        return whole.outputs[0]

    def _insert(self, node: ir.Node, size: int) -> None:
        node.outputs[0].type, node.outputs[0].shape = ir.TensorType(ir.DataType.INT64), ir.Shape([size])
        self._graph.insert_before(self._first, node)


def _rows(leading: Leading) -> int | ir.SymbolicDim:
    """Return the number of rows: a product of sizes, spelt out where they are symbols."""
    rows = 1
    for size in leading:
        if not isinstance(size, int):
            return ir.SymbolicDim(
                "*".join(str(size.value) if isinstance(size, ir.SymbolicDim) else str(size) for size in leading)
            )
        rows *= size
    return rows


def _absorb_bias(graph: ir.Graph, node: ir.Node) -> None:
    """Turn a product on two axes and the Add of its bias into one Gemm."""
    layer = match_linear(node)
    if layer is None or layer.bias is None or rank(layer.x) != 2:
        return
    gemm = new_node(node, "Gemm", [layer.x, layer.weight, layer.bias])
    graph.insert_before(node, gemm)
    take_over(layer.output, gemm.outputs[0])
    graph.remove(reversed(layer.nodes), safe=True)
