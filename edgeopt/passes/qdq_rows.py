"""Leading axes folded into one, so that weights multiply matrices: integer Gemm kernels take two axes and add the bias inside.

Before: x [b, s, k] → MatMul → Add (bias) → Gelu → MatMul → Add (bias) → Add (x) → LayerNormalization → y [b, s, k]
After:  x → Reshape [b·s, k] → MatMul → Add → Gelu → MatMul → Add → Add → LayerNormalization → Reshape [b, s, k] → y

A region is made of nodes that work on each row alone. Reshapes stand only where values enter and leave it. The sizes b and s
are read once for all tensors whose leading axes have the same names.
"""

from __future__ import annotations

import onnx
from onnx import helper

from edgeopt.graph.index import GraphIndex, attribute, remove_unused_constants
from edgeopt.graph.shapes import KnownShapes, ShapeTensors

_UNARY = {"Gelu", "Relu", "Sigmoid", "Tanh", "Erf", "LeakyRelu", "HardSwish", "Softplus"}
_SHAPE_WITH_END = 15  # operator set in which Shape can give the leading sizes alone
_BINARY = {"Add", "Mul", "Sub", "Div"}


def fold_rows(model: onnx.ModelProto) -> int:
    """Fold the leading axes of every region that multiplies by constant matrices; return how many MatMuls there are in them.

    Type information of inner tensors is dropped, since ranks change; infer it again.
    """
    graph = model.graph
    if max((entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), default=1) < _SHAPE_WITH_END:
        return 0
    region = _Region(graph)
    count = len([node for node in region.nodes if node.op_type == "MatMul"])
    if count:
        region.rewrite()
        del graph.value_info[:]
        remove_unused_constants(graph)
    return count


class _Region:
    """All nodes that may work on rows, as long as MatMuls are among them and their leading axes are known."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self.index = GraphIndex(graph)
        self.known = KnownShapes(graph)
        fronts = {
            self.known.leading(node.input[0]) for node in graph.node if node.op_type == "MatMul" and self._works_on_rows(node)
        }
        self.nodes = [node for node in graph.node if self._works_on_rows(node) and self._front(node) in fronts]
        self.members = {node.name for node in self.nodes}

    def _front(self, node: onnx.NodeProto) -> tuple[int | str, ...] | None:
        return self.known.leading(node.output[0])

    def _works_on_rows(self, node: onnx.NodeProto) -> bool:
        front, width = self._front(node), self.known.last(node.output[0])
        if front is None or len(front) < 2 or width is None or node.domain not in {"", "ai.onnx"}:
            return False
        if any(name in self.index.captured for name in node.output) or not self.index.is_float(node.output[0]):
            return False
        if node.op_type in _UNARY:
            return True
        if node.op_type in _BINARY:
            return all(self._is_row_like(name, front, width) for name in node.input)
        if node.op_type == "LayerNormalization":
            last = attribute(node, "axis", -1) in {-1, len(front)}
            constants = all(name in self.index.initializers for name in node.input[1:] if name)
            return last and len(node.output) == 1 and constants
        if node.op_type == "MatMul":
            weight = self.index.initializers.get(node.input[1])
            width_in = self.known.last(node.input[0])
            return weight is not None and len(weight.dims) == 2 and width_in is not None
        return False

    def _is_row_like(self, name: str, front: tuple[int | str, ...], width: int) -> bool:
        """Tell whether an operand has the whole shape, or is a constant that every row shares."""
        tensor = self.index.initializers.get(name)
        if tensor is not None:
            return list(tensor.dims) in ([], [1], [width])
        return self.known.leading(name) == front and self.known.last(name) == width

    def rewrite(self) -> None:
        """Rename what the region's nodes read and give to its folded form, with Reshapes at the borders."""
        made = ShapeTensors(self.graph)
        ordered: list[onnx.NodeProto] = []
        entered: set[str] = set()
        for node in self.graph.node:
            if node.name not in self.members:
                ordered.append(node)
                continue
            for position, name in enumerate(node.input):
                if not name or name in self.index.initializers:
                    continue
                maker = self.index.producer.get(name)
                if (maker is None or maker.name not in self.members) and name not in entered:
                    entered.add(name)
                    ordered.append(_reshape(name, made.constant(-1, self.known.last(name) or 0), f"{name}_rows"))
                node.input[position] = f"{name}_rows"
            ordered.append(node)
            name, node.output[0] = node.output[0], f"{node.output[0]}_rows"
            if self._leaves(name):
                source = next(value for value in node.input if value not in self.index.initializers)
                ordered += self._restore(name, source.removesuffix("_rows"), made)
        del self.graph.node[:]
        self.graph.node.extend(ordered)

    def _leaves(self, name: str) -> bool:
        return name in self.index.outputs or any(user.name not in self.members for user in self.index.consumers[name])

    def _restore(self, name: str, source: str, made: ShapeTensors) -> list[onnx.NodeProto]:
        """Give `name` its leading axes back; their sizes are read where the first member of the region still has them."""
        front = self.known.leading(name) or ()
        shape, nodes = made.full(self._unfolded(source), front, self.known.last(name) or 0)
        return [*nodes, _reshape(f"{name}_rows", shape, name)]

    def _unfolded(self, name: str) -> str:
        """Return a tensor with these leading axes from outside the region, upstream of `name`."""
        maker = self.index.producer.get(name)
        while maker is not None and maker.name in self.members:
            name = next(value.removesuffix("_rows") for value in maker.input if value not in self.index.initializers)
            maker = self.index.producer.get(name)
        return name


def _reshape(source: str, shape: str, result: str) -> onnx.NodeProto:
    return helper.make_node("Reshape", [source, shape], [result], f"Reshape:{result}")
