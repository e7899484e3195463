"""What is known of the shapes in a graph, and shape tensors for Reshape, each made once."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

Dims = tuple[int | str | None, ...]


class KnownShapes:
    """Sizes and names of axes, from the graph's type information."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._dims = {
            value.name: _dims(value)
            for value in (*graph.value_info, *graph.input, *graph.output)
            if value.type.tensor_type.HasField("shape")
        }
        self._dims |= {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}

    def of(self, name: str) -> Dims | None:
        """Return the axes of a tensor (None for an axis without size or name), or None if nothing is known."""
        return self._dims.get(name)

    def leading(self, name: str) -> tuple[int | str, ...] | None:
        """Return all axes but the last, if each has a size or a name."""
        dims = self._dims.get(name) or ()
        front = tuple(size for size in dims[:-1] if size is not None)
        return front if len(dims) > 1 and len(front) == len(dims) - 1 else None

    def last(self, name: str) -> int | None:
        """Return the size of the last axis, if it is a number."""
        dims = self._dims.get(name) or (None,)
        return dims[-1] if isinstance(dims[-1], int) else None


def _dims(value: onnx.ValueInfoProto) -> Dims:
    return tuple(
        dim.dim_value if dim.HasField("dim_value") else (dim.dim_param or None) for dim in value.type.tensor_type.shape.dim
    )


class ShapeTensors:
    """Makes the second inputs of Reshapes: constants where sizes are known, else read from a tensor with the same axes."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        self._constants = {tensor.name for tensor in graph.initializer}
        self._made: dict[tuple[int | str, ...], str] = {}

    def constant(self, *sizes: int) -> str:
        """Return the name of a constant shape."""
        name = "shape_" + "_".join(str(size).replace("-", "minus") for size in sizes)
        if name not in self._constants:
            self._constants.add(name)
            self._graph.initializer.append(numpy_helper.from_array(np.array(sizes, dtype=np.int64), name))
        return name

    def full(self, source: str, leading: tuple[int | str, ...], width: int) -> tuple[str, list[onnx.NodeProto]]:
        """Return the name of the shape [*leading, width] and the nodes that compute it from `source`, if they are new."""
        unknown = [size for size in leading if isinstance(size, str)]
        if len(unknown) <= 1:
            return self.constant(*(-1 if isinstance(size, str) else size for size in leading), width), []
        key = (*leading, width)
        if key in self._made:
            return self._made[key], []
        label = "_".join(map(str, key))
        nodes = []
        if leading not in self._made:
            self._made[leading] = f"sizes_{'_'.join(map(str, leading))}"
            nodes.append(helper.make_node("Shape", [source], [self._made[leading]], self._made[leading], end=len(leading)))
        self._made[key] = f"shape_{label}"
        parts = [self._made[leading], self.constant(width)]
        nodes.append(helper.make_node("Concat", parts, [self._made[key]], self._made[key], axis=0))
        return self._made[key], nodes
