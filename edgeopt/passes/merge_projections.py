"""Linear layers of the same input become one wide one: query, key and value of an attention.

One product of [rows, in] and [in, 3·out] packs and reads the input once where three products do it three times, and an int8
kernel quantizes it once.
Gate and up of a gated MLP stay apart: they are four times as wide, and Split copies them (docs/log/export.md). So do layers
whose weights another layer reads in other company: the file would hold them twice.

    Before: q = MatMul(x, Wq) + bq;  k = MatMul(x, Wk) + bk;  v = MatMul(x, Wv) + bv
    After:  q, k, v = Split(MatMul(x, [Wq Wk Wv]) + [bq bk bv], axis=-1)
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from edgeopt.graph.editing import SCOPES, add_initializer, new_node, take_over
from edgeopt.graph.matching import int64, static_shape, weight_tensor
from edgeopt.graph.tensors import Rows
from edgeopt.passes.linear import Linear, match_linear, products_behind
from edgeopt.passes.rewrite import Rewrite


class MergeProjections(Rewrite):
    """Merge the linear layers that share their input and belong to one module."""

    def rewrite(self, model: ir.Model) -> int:
        """Merge every group of two and more layers; weights must be constants."""
        groups: dict[tuple[ir.Value, str], list[Linear]] = {}
        for node in model.graph:
            layer = match_linear(node)
            if layer is not None:
                groups.setdefault((layer.x, str(_scopes(layer)[:-2])), []).append(layer)
        company: dict[ir.Value, set[tuple[ir.Value, ...]]] = {}
        for layers in groups.values():
            for layer in layers:
                company.setdefault(layer.weight, set()).add(tuple(other.weight for other in layers))
        mergeable = [layers for layers in groups.values() if len(layers) > 1 and _alike(layers) and not _gated(layers)]
        mergeable = [layers for layers in mergeable if all(len(company[layer.weight]) == 1 for layer in layers)]
        made: dict[tuple[object, ...], ir.Value] = {}
        for layers in mergeable:
            _merge(model.graph, layers, made)
        return len(mergeable)


def _alike(layers: Sequence[Linear]) -> bool:
    """Return whether the layers have one type of weights and none of them is an output of the model."""
    types = {layer.weight.dtype for layer in layers}
    return len(types) == 1 and not any(layer.output.is_graph_output() for layer in layers)


def _gated(layers: Sequence[Linear]) -> bool:
    """Return whether two layers, one of them perhaps through an activation, are multiplied with each other."""
    return len(layers) == 2 and bool(products_behind(layers[0].output, steps=3) & products_behind(layers[1].output, steps=3))


def _merge(graph: ir.Graph, layers: Sequence[Linear], made: dict[tuple[object, ...], ir.Value]) -> None:
    """Merge `layers`; `made` has the merged weights and biases so far, since layers may share theirs (ALBERT)."""
    widths = [(static_shape(layer.weight) or (0, 0))[1] for layer in layers]
    first = layers[0].nodes[0]
    weights = tuple(layer.weight for layer in layers)
    if weights not in made:
        made[weights] = add_initializer(graph, "merged_weight", Rows([weight_tensor(weight) for weight in weights]))
    product = new_node(first, "MatMul", [first.inputs[0], made[weights]])  # (another merge may have replaced `layers[0].x`)
    nodes = [product]
    biases = tuple(layer.bias for layer in layers)
    if any(bias is not None for bias in biases):
        shared = (*biases, *widths)  # a missing bias is as many zeros as its layer is wide
        if shared not in made:
            parts = [
                np.zeros(width, weight_tensor(weight).dtype.numpy()) if bias is None else weight_tensor(bias).numpy()
                for bias, weight, width in zip(biases, weights, widths, strict=True)
            ]
            made[shared] = add_initializer(graph, "merged_bias", np.concatenate(parts))
        nodes.append(new_node(first, "Add", [product.outputs[0], made[shared]]))
    sizes = add_initializer(graph, "merged_sizes", int64(*widths))
    split = ir.node("Split", [nodes[-1].outputs[0], sizes], {"axis": -1}, num_outputs=len(layers))
    nodes.append(split)
    _describe(nodes, layers, sum(widths))
    graph.insert_before(first, nodes)
    for layer, part in zip(layers, split.outputs, strict=True):
        take_over(layer.output, part)
    for layer in layers:
        graph.remove(reversed(layer.nodes), safe=True)


def _describe(nodes: Sequence[ir.Node], layers: Sequence[Linear], width: int) -> None:
    """Give the new nodes the shape of their output and the module that the merged ones have in common."""
    scopes = (_scopes(layer) for layer in layers)
    alike = itertools.takewhile(lambda level: len(set(level)) == 1, zip(*scopes, strict=False))
    shared = str([*(level[0] for level in alike), "merged"])
    leading = layers[0].output.shape
    for node in nodes:
        node.metadata_props[SCOPES] = shared
        if node.op_type != "Split" and leading is not None:
            node.outputs[0].shape = ir.Shape([*leading[:-1], width])


def _scopes(layer: Linear) -> list[str]:
    """Return the modules `layer` is in, outermost first, then its own and the operator's."""
    return [str(scope) for scope in ast.literal_eval(layer.nodes[0].metadata_props.get(SCOPES, "[]"))]
