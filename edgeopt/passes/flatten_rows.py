"""Row-wise layers work on [rows, features], where a product and its bias can be one Gemm (`gemm`).

A linear layer on [batch, sequence, features] exports as MatMul + Add. On two axes it is one Gemm, which adds the bias while the
product is still in the accumulator; quantized, the bias lives in int32 (QGemm) where a float Add needs a round trip through two
more quantizations. Linear layers, norms and activations do not care which row is which, so whole stretches of the graph between
two attentions run on [batch · sequence, features], with a free Reshape at both ends:

    Before: LayerNormalization(Add(Add(MatMul(a, W), b), r))            all [batch, sequence, features]
    After:  a₂ = Reshape(a, [-1, features]); r₂ = Reshape(r, [-1, features])
            Reshape(LayerNormalization(Add(Add(MatMul(a₂, W), b), r₂)), [batch, sequence, features])

The stretches are grown from the linear layers along all nodes that treat rows alike and have the same leading axes. Networks on
images have short stretches on [batch, height, width, features] (ConvNeXt), where the reshapes cost what a float Gemm gains; an
integer one gains more.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir

from edgeopt.graph.editing import add_initializer, fresh_name, insert_before, new_node, opset_of
from edgeopt.graph.matching import constant, int64, is_standard, known_axes
from edgeopt.passes.rewrite import Rewrite
from edgeopt.passes.rowwise import follow_last_axis, is_row_wise

_SHAPE_WITH_END = 15
"""The operator set from which on Shape can give the leading sizes alone."""

Leading = tuple[int | str, ...]
"""All axes of a tensor but the last, by size or name."""


class FlattenRows(Rewrite):
    """Run row-wise stretches of the graph on two axes; counts the linear layers in them."""

    def __init__(self, *, most_axes: int | None = 3) -> None:
        """Flatten tensors of three axes up to `most_axes`; None: of any number."""
        self._most_axes = most_axes

    def rewrite(self, model: ir.Model) -> int:
        """Flatten every stretch that holds a linear layer."""
        graph = model.graph
        regions: dict[Leading, set[ir.Node]] = {}
        for node in graph:
            leading = _leading(node.outputs[0]) if is_standard(node, "MatMul") else None
            if leading is not None and self._fits(leading) and node not in regions.setdefault(leading, set()):
                regions[leading] |= _grow(graph, node, leading)
        order = {node: position for position, node in enumerate(graph)}
        count = 0
        for leading, region in regions.items():
            _drop_open_ends(region)
            if region and (opset_of(model) >= _SHAPE_WITH_END or _unknown(leading) <= 1):
                _flatten(graph, leading, sorted(region, key=lambda node: order[node]))
                count += sum(node.op_type == "MatMul" for node in region)
        return count

    def _fits(self, leading: Leading) -> bool:
        return len(leading) >= 2 and (self._most_axes is None or len(leading) < self._most_axes)


def _leading(value: ir.Value | None) -> Leading | None:
    """Return all axes of `value` but the last, None where one of them or the size of the last is unknown."""
    if value is None or value.shape is None or len(value.shape) < 2 or not isinstance(value.shape[-1], int):
        return None
    axes = known_axes(value)
    return None if axes is None else axes[:-1]


def _width(value: ir.Value) -> int:
    size = value.shape[-1] if value.shape is not None else -1
    return size if isinstance(size, int) else -1


def _unknown(leading: Leading) -> int:
    return sum(isinstance(size, str) for size in leading)


def _grow(graph: ir.Graph, seed: ir.Node, leading: Leading) -> set[ir.Node]:
    """Return the row-wise nodes that are connected to `seed` through tensors with the same leading axes."""
    region: set[ir.Node] = set()
    waiting = [seed]
    while waiting:
        node = waiting.pop()
        if node in region or node.graph is not graph or not _row_wise(node, leading):
            continue
        region.add(node)
        for value in (*node.inputs, *node.outputs):
            if value is not None and _leading(value) == leading:
                producer = value.producer()
                waiting += [*([producer] if producer is not None else []), *value.consumers()]
    return region


def _row_wise(node: ir.Node, leading: Leading) -> bool:
    """Return whether `node` computes each row of its outputs from the same row of its inputs, and constants."""
    if any(_leading(value) != leading for value in node.outputs):
        return False
    return is_row_wise(node, lambda value: constant(value) is None and _leading(value) == leading, axes=len(leading) + 1)


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
    shapes = _Shapes(graph, leading, entering[0])
    leaving = {value for node in region for value in node.outputs if value.is_graph_output() or set(value.consumers()) - inside}
    for value in entering:
        _enter(graph, value, region, shapes)
    made = [value for node in region for value in node.outputs]
    names = {value: value.name or "" for value in made}
    for value in made:
        value.name = fresh_name(graph, f"{names[value]}_rows")
    for node in region:
        restoring = [_leave(graph, value, names[value], inside, shapes) for value in node.outputs if value in leaving]
        graph.insert_after(node, [new for nodes in restoring for new in nodes])
    for value in made:
        value.shape = ir.Shape([_rows(leading), _width(value)])
    for node in region:
        follow_last_axis(node)


def _entering(region: Iterable[ir.Node], inside: set[ir.Node], leading: Leading) -> list[ir.Value]:
    """Return the tensors that come from outside the region, each once, in the order of the graph."""
    values = (value for node in region for value in node.inputs if value is not None and constant(value) is None)
    return list(dict.fromkeys(value for value in values if _leading(value) == leading and value.producer() not in inside))


def _enter(graph: ir.Graph, value: ir.Value, region: list[ir.Node], shapes: _Shapes) -> None:
    inside = set(region)
    users = [use for use in value.uses() if use.node in inside]
    using = {use.node for use in users}
    first = next(node for node in region if node in using)
    reshape = new_node(first, "Reshape", [value, shapes.constant(-1, _width(value))])
    reshape.outputs[0].type = value.type
    rows = insert_before(graph, first, reshape, f"{value.name}_rows", ir.Shape([_rows(shapes.leading), _width(value)]))
    for use in users:
        use.node.replace_input_with(use.idx, rows)


def _leave(graph: ir.Graph, value: ir.Value, name: str, inside: set[ir.Node], shapes: _Shapes) -> list[ir.Node]:
    """Give `value` its leading axes back for nodes outside the region, under the `name` it had; return the nodes that do."""
    like = value.producer()
    if like is None:
        return []
    users = [use for use in value.uses() if use.node not in inside]
    made, target = shapes.restoring(_width(value), like)
    reshape = new_node(like, "Reshape", [value, target])
    restored = reshape.outputs[0]
    restored.name, reshape.name = name, f"Reshape:{name}"
    restored.shape, restored.type = value.shape, value.type
    for use in users:
        use.node.replace_input_with(use.idx, restored)
    for index, output in enumerate(graph.outputs):
        if output is value:
            graph.outputs[index] = restored
    return [*made, reshape]


class _Shapes:
    """Makes the second inputs of Reshapes: constants where one size at most is unknown, else read from an example."""

    def __init__(self, graph: ir.Graph, leading: Leading, example: ir.Value) -> None:
        self.leading = leading
        self._graph, self._example = graph, example
        self._constants: dict[tuple[int, ...], ir.Value] = {}
        self._computed: dict[int, ir.Value] = {}
        self._sizes: ir.Value | None = None

    def constant(self, *sizes: int) -> ir.Value:
        """Return a constant shape."""
        if sizes not in self._constants:
            name = "shape_" + "_".join(str(size).replace("-", "minus") for size in sizes)
            self._constants[sizes] = add_initializer(self._graph, name, int64(*sizes))
        return self._constants[sizes]

    def restoring(self, width: int, like: ir.Node) -> tuple[list[ir.Node], ir.Value]:
        """Return the nodes that compute the shape [*leading, width], if they are new, and that shape."""
        if _unknown(self.leading) <= 1:
            return [], self.constant(*(-1 if isinstance(size, str) else size for size in self.leading), width)
        if width in self._computed:
            return [], self._computed[width]
        nodes = []
        label = "_".join(map(str, self.leading))
        if self._sizes is None:
            shape = new_node(like, "Shape", [self._example], end=len(self.leading))
            self._sizes = self._named(shape, f"sizes_{label}", len(self.leading))
            nodes.append(shape)
        whole = new_node(like, "Concat", [self._sizes, self.constant(width)], axis=0)
        self._computed[width] = self._named(whole, f"shape_{label}_{width}", len(self.leading) + 1)
        return [*nodes, whole], self._computed[width]

    def _named(self, node: ir.Node, name: str, size: int) -> ir.Value:
        value: ir.Value = node.outputs[0]
        value.type, value.shape = ir.TensorType(ir.DataType.INT64), ir.Shape([size])
        value.name = node.name = fresh_name(self._graph, name)
        return value


def _rows(leading: Leading) -> int | ir.SymbolicDim:
    """Return the number of rows: a product of sizes, spelt out where they are symbols."""
    rows = 1
    for size in leading:
        if not isinstance(size, int):
            return ir.SymbolicDim("*".join(map(str, leading)))
        rows *= size
    return rows
