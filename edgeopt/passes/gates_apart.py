"""Gate and up of a gated MLP are products of their own: a Split of one product's output would copy both.

`merge_projections` leaves the two apart where the model has them so (Llama); this takes them apart where it has not
(ModernBERT, and others whose code computes both at once). They are as wide as the inner layer: the copy costs more than reading
the narrow input twice. Packed query, key and value, a quarter as wide, gain nothing by it (docs/log/export.md).

    Before: g, u = Split(MatMul(x, [Wg Wu]), axis=-1);  Mul(Gelu(g), u)
    After:  Mul(Gelu(MatMul(x, Wg)), MatMul(x, Wu))
"""

from __future__ import annotations

import onnx_ir as ir

from edgeopt.graph.editing import add_initializer, new_node, take_over
from edgeopt.graph.matching import attribute, sole_consumer, weight_tensor
from edgeopt.graph.tensors import derived
from edgeopt.passes.linear import Linear, match_linear, products_behind
from edgeopt.passes.rewrite import Rewrite


class GatesApart(Rewrite):
    """Give each of the two halves of a gated product a weight of its own."""

    def rewrite(self, model: ir.Model) -> int:
        """Take every linear layer apart whose halves are multiplied with each other and read by nothing else."""
        made: dict[tuple[ir.Value, int], ir.Value] = {}
        changed = [node for node in list(model.graph) if _apart(model.graph, node, made)]
        return len(changed)


def _apart(graph: ir.Graph, node: ir.Node, made: dict[tuple[ir.Value, int], ir.Value]) -> bool:
    """Take the layer of `node` apart; `made` has the parts of weights so far by their first column: layers may share theirs."""
    layer = match_linear(node)
    split = sole_consumer(layer.output, "Split") if layer is not None else None
    widths = _widths(split) if split is not None else []
    if layer is None or split is None or not widths or not _gated(split):
        return False
    start = 0
    for output, width in zip(split.outputs, widths, strict=True):
        product = _columns(graph, layer, start, start + width, made)
        graph.insert_before(layer.nodes[0], product)
        take_over(output, product[-1].outputs[0])
        start += width
    graph.remove([split, *reversed(layer.nodes)], safe=True)
    return True


def _widths(split: ir.Node) -> list[int]:
    """Return the sizes of the parts of the last axis; none if another axis is split, or a part is an output of the model."""
    shapes = [output.shape for output in split.outputs if not output.is_graph_output()]
    axis = attribute(split, "axis", 0)
    sizes = [shape[-1] for shape in shapes if shape is not None and axis in {-1, len(shape) - 1}]
    known = [size for size in sizes if isinstance(size, int)]
    return known if len(known) == len(split.outputs) else []


def _gated(split: ir.Node) -> bool:
    """Return whether the two parts are multiplied with each other, one of them perhaps through an activation."""
    if len(split.outputs) != 2:
        return False
    return bool(products_behind(split.outputs[0], steps=3) & products_behind(split.outputs[1], steps=3))


def _columns(graph: ir.Graph, layer: Linear, start: int, end: int, made: dict[tuple[ir.Value, int], ir.Value]) -> list[ir.Node]:
    """Return the nodes that compute the columns `start` to `end` of `layer`."""
    parts = []
    for whole in (layer.weight, layer.bias):
        if whole is not None:
            if (whole, start) not in made:
                tensor = derived(weight_tensor(whole), lambda array: array[..., start:end])
                made[whole, start] = add_initializer(graph, f"{whole.name}_{start}", tensor)
            parts.append(made[whole, start])
    nodes = [new_node(layer.nodes[0], "MatMul", [layer.x, parts[0]])]
    if layer.bias is not None:
        nodes.append(new_node(layer.nodes[0], "Add", [nodes[0].outputs[0], parts[1]]))
    for node in nodes:
        shape = layer.output.shape
        node.outputs[0].type = layer.output.type
        node.outputs[0].shape = ir.Shape([*shape[:-1], end - start]) if shape is not None else None
    return nodes
