"""A root mean square norm (https://arxiv.org/abs/1910.07467) is one node, not seven.

From opset 23 on ONNX has RMSNormalization; torch's exporter writes what the Python says, and the mean in the middle of it
keeps whole stretches of the graph from running on rows:

    Before: Mul(weight, Mul(x, Reciprocal(Sqrt(Add(ReduceMean(Pow(x, 2), [-1]), ε)))))
    After:  RMSNormalization(x, weight, axis=-1, epsilon=ε)

In half precision the norm is computed in float32 between two Casts, which is what RMSNormalization's `stash_type` 1 says:

    Before: Mul(weight, Cast(Mul(y, Reciprocal(Sqrt(…)))))  with y = Cast(x)
    After:  RMSNormalization(x, weight, axis=-1, epsilon=ε)
"""

from __future__ import annotations

import onnx_ir as ir

from edgeopt.graph.editing import new_node, opset_of, take_over
from edgeopt.graph.matching import attribute, constant, integers, produced_by, rank, sole_consumer, static_shape
from edgeopt.passes.rewrite import Rewrite

_FIRST_OPSET = 23


class FuseRmsNorm(Rewrite):
    """Make root mean square norms over the last axis single nodes."""

    def rewrite(self, model: ir.Model) -> int:
        """Fuse every norm with a weight; below opset 23 there is nothing to fuse them to."""
        if opset_of(model) < _FIRST_OPSET:
            return 0
        changed = [node for node in list(model.graph) if node.op_type == "Reciprocal" and _fuse(model.graph, node)]
        return len(changed)


def _fuse(graph: ir.Graph, reciprocal: ir.Node) -> bool:
    root = produced_by(reciprocal.inputs[0], "Sqrt")
    shifted = produced_by(root.inputs[0], "Add") if root is not None else None
    mean, epsilon = _mean_and_epsilon(shifted) if shifted is not None else (None, None)
    square = produced_by(mean.inputs[0], "Pow") if mean is not None else None
    if mean is None or square is None or epsilon is None or _scalar(square.inputs[1]) != 2:
        return False
    x = square.inputs[0]
    scaled = _other_operand(reciprocal.outputs[0], x)
    if x is None or scaled is None or not _over_last_axis(mean, rank(x)):
        return False
    normal, x = _narrowed(scaled, x)
    weighted, weight = _weighted(normal, x)
    if weighted is None or weight is None:
        return False
    norm = new_node(weighted, "RMSNormalization", [x, weight], axis=-1, epsilon=epsilon)
    graph.insert_before(weighted, norm)
    take_over(weighted.outputs[0], norm.outputs[0])
    return True


def _scalar(value: ir.Value | None) -> float | None:
    tensor = constant(value)
    return float(tensor.numpy().reshape(-1)[0]) if tensor is not None and tensor.size == 1 else None


def _mean_and_epsilon(shifted: ir.Node) -> tuple[ir.Node | None, float | None]:
    for mean, epsilon in (shifted.inputs, shifted.inputs[::-1]):
        found = produced_by(mean, "ReduceMean")
        if found is not None and _scalar(epsilon) is not None:
            return found, _scalar(epsilon)
    return None, None


def _over_last_axis(mean: ir.Node, axes: int | None) -> bool:
    chosen = integers(mean.inputs[1]) if len(mean.inputs) > 1 else None
    return axes is not None and chosen in ([-1], [axes - 1]) and bool(attribute(mean, "keepdims", 1))


def _other_operand(factor: ir.Value, x: ir.Value | None) -> ir.Node | None:
    """Return the only user of `factor` if it is its product with `x`."""
    users = list(factor.consumers())
    fits = len(users) == 1 and users[0].op_type == "Mul" and x in users[0].inputs
    return users[0] if fits else None


def _narrowed(scaled: ir.Node, x: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Return the normalised value and what it was made of, without the Casts to float32 and back where there are both."""
    back, widened = sole_consumer(scaled.outputs[0], "Cast"), produced_by(x, "Cast")
    source = widened.inputs[0] if widened is not None else None
    if back is None or source is None or source.dtype != back.outputs[0].dtype or x.dtype != ir.DataType.FLOAT:
        return scaled.outputs[0], x
    return back.outputs[0], source


def _weighted(normal: ir.Value, x: ir.Value) -> tuple[ir.Node | None, ir.Value | None]:
    """Return the product of `normal` with a weight as wide as `x`, and the weight."""
    product = sole_consumer(normal, "Mul")
    if product is None or x.shape is None:
        return None, None
    weight = next((value for value in product.inputs if value is not normal), None)
    fits = weight is not None and static_shape(weight) == (x.shape[-1],) and weight.dtype == x.dtype
    return (product, weight) if fits else (None, None)
