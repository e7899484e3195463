"""Multiply-accumulate operations of an ONNX graph, node by node, for the shapes one real batch gives.

Shapes come from ONNX's shape inference with the batch's sizes put in for the symbolic ones; what that cannot tell (sizes that
depend on values, operators it does not know) is measured by running the model once with those tensors as outputs.

Counted: MatMul and its integer forms, Gemm, Conv, ConvTranspose, Attention, LSTM, GRU, RNN, Einsum of two operands. Everything
else counts as none: elementwise work, normalisations and softmax are a rounding error beside these on the models meant here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import prod

import onnx
import onnx_ir as ir

from edgeopt.batches import Batch
from edgeopt.errors import ModelError
from edgeopt.graph.editing import copied, sort_nodes
from edgeopt.graph.files import structure
from edgeopt.graph.integer_operators import INTEGER_PRODUCTS
from edgeopt.graph.matching import attribute, by_name, produced_by

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]


def count_macs(model: ir.Model, batch: Batch) -> dict[str, int]:
    """Return the MACs of each node of the main graph that has any, by node name (by first output where it has no name).

    Args:
        model: is not changed.
        batch: one batch of real inputs.

    Raises:
        ModelError: onnxruntime cannot run the model on this batch, which only matters where shapes cannot be inferred.
    """
    nodes = [node for node in model.graph if node.op_type in _COUNTERS and node.domain in {"", "com.microsoft"}]
    wanted = [value.name for node in nodes for value in (*node.inputs, *node.outputs) if value is not None and value.name]
    shapes = tensor_shapes(model, batch, wanted)
    macs = {node_name(node): _COUNTERS[node.op_type](node, shapes) for node in nodes}
    return {name: count for name, count in macs.items() if count}


def node_name(node: ir.Node) -> str:
    """Return the node's name, or that of its first output where it has none."""
    return node.name or node.outputs[0].name or ""


def integer_products(model: ir.Model) -> set[str]:
    """Return the nodes, named as above, whose two factors are dequantized, or that multiply integers and output floats."""
    return {
        node_name(node)
        for node in model.graph
        if node.op_type in INTEGER_PRODUCTS
        or (len(node.inputs) > 1 and all(produced_by(value, "DequantizeLinear") is not None for value in node.inputs[:2]))
    }


def tensor_shapes(model: ir.Model, batch: Batch, tensors: list[str]) -> dict[str, Shape]:
    """Return the shapes that `tensors` of the main graph take on `batch`."""
    constants = {name: value.const_value for name, value in model.graph.initializers.items()}
    shapes: dict[str, Shape] = {name: tuple(item.shape.numpy()) for name, item in constants.items() if item is not None}
    shapes |= {name: array.shape for name, array in batch.items()}
    missing = [name for name in dict.fromkeys(tensors) if name not in shapes]
    if missing:
        shapes |= _inferred(model, batch)
        missing = [name for name in missing if name not in shapes]
    if missing:
        shapes |= _measured(model, batch, missing)
    return {name: shapes[name] for name in tensors}


def _inferred(model: ir.Model, batch: Batch) -> dict[str, Shape]:
    """Infer shapes on a copy whose inputs have the batch's sizes and whose inner shapes are forgotten."""
    copy = structure(model)
    del copy.graph.value_info[:]
    for value in copy.graph.input:
        if value.name in batch:
            _set_shape(value, batch[value.name].shape)
    for value in copy.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        graph = onnx.shape_inference.infer_shapes(copy, data_prop=True).graph
    except (onnx.shape_inference.InferenceError, ValueError):
        return {}  # what it cannot infer is measured instead
    return {value.name: shape for value in (*graph.value_info, *graph.output) if (shape := _known(value)) is not None}


def _set_shape(value: onnx.ValueInfoProto, shape: Shape) -> None:
    dimensions = value.type.tensor_type.shape
    del dimensions.dim[:]
    for size in shape:
        dimensions.dim.add().dim_value = size


def _known(value: onnx.ValueInfoProto) -> Shape | None:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape") or not all(dimension.HasField("dim_value") for dimension in tensor.shape.dim):
        return None
    return tuple(dimension.dim_value for dimension in tensor.shape.dim)


def _measured(model: ir.Model, batch: Batch, tensors: list[str]) -> dict[str, Shape]:
    from edgeopt.graph.session import SessionConfig, open_model

    sort_nodes(model)
    copy = copied(model)
    values = by_name(copy.graph)
    copy.graph.outputs.clear()
    copy.graph.outputs.extend(values[name] for name in tensors)
    session = open_model(copy, config=SessionConfig(optimization="none"))
    try:
        results = session.run(tensors, dict(batch))
    except Exception as error:
        raise ModelError(f"the model cannot run on its sample batch: {str(error).splitlines()[0][:300]}") from error
    return {name: tuple(result.shape) for name, result in zip(tensors, results, strict=True)}


def _of(shapes: Shapes, value: ir.Value | None) -> Shape:
    return shapes[str(value.name)] if value is not None else ()


def _matmul(node: ir.Node, shapes: Shapes) -> int:
    """[…, M, K] · [K, N] or [K]: each output element takes K."""
    return prod(_of(shapes, node.outputs[0])) * _of(shapes, node.inputs[0])[-1]


def _gemm(node: ir.Node, shapes: Shapes) -> int:
    transposed = attribute(node, "transA", 0)
    return prod(_of(shapes, node.outputs[0])) * _of(shapes, node.inputs[0])[0 if transposed else 1]


def _conv(node: ir.Node, shapes: Shapes) -> int:
    """Weight [out, in / groups, …kernel]: each output element takes in / groups · kernel."""
    return prod(_of(shapes, node.outputs[0])) * prod(_of(shapes, node.inputs[1])[1:])


def _conv_transpose(node: ir.Node, shapes: Shapes) -> int:
    """Weight [in, out / groups, …kernel]: each input element reaches out / groups · kernel outputs."""
    return prod(_of(shapes, node.inputs[0])) * prod(_of(shapes, node.inputs[1])[1:])


def _attention(node: ir.Node, shapes: Shapes) -> int:
    """Q·Kᵀ and P·V of the standard operator: heads · queries · keys · (size of a key + size of a value), for each sample.

    Q is [batch, heads, queries, size] or [batch, queries, heads · size]; a past in inputs 4 and 5 lengthens the keys.
    """
    if node.domain:
        return _packed_attention(node, shapes)
    query, key, value = (_of(shapes, item) for item in node.inputs[:3])
    past = _of(shapes, node.inputs[4])[2] if len(node.inputs) > 4 and node.inputs[4] is not None else 0
    if len(query) == 4:
        batch, heads, queries, size = query
        return batch * heads * queries * (key[2] + past) * (size + value[3])
    batch, queries, width = query
    groups: int = attribute(node, "q_num_heads", 1) // max(attribute(node, "kv_num_heads", 1), 1)
    return batch * queries * (key[1] + past) * (width + value[2] * max(groups, 1))


def _packed_attention(node: ir.Node, shapes: Shapes) -> int:
    """com.microsoft's Attention projects x [batch, length, in] by W [in, widths of Q + K + V], and then attends.

    A past [2, batch, heads, length, size] in input 4 lengthens the keys.
    """
    batch, length, inner = _of(shapes, node.inputs[0])
    width = _of(shapes, node.inputs[1])[1]
    value = _of(shapes, node.outputs[0])[-1]
    past = _of(shapes, node.inputs[4])[3] if len(node.inputs) > 4 and node.inputs[4] is not None else 0
    return batch * length * (inner * width + (length + past) * ((width - value) // 2 + value))


def _recurrent(gates: int) -> Callable[[ir.Node, Shapes], int]:
    """X is [steps, batch, input], W [directions, gates · hidden, input], R [directions, gates · hidden, hidden]."""

    def count(node: ir.Node, shapes: Shapes) -> int:
        steps, batch, size = _of(shapes, node.inputs[0])
        directions, rows, hidden = _of(shapes, node.inputs[2])
        if rows != gates * hidden:
            raise ModelError(
                f"node '{node.name}' ({node.op_type}): recurrence weight has {rows} rows for {hidden} hidden units"
            )
        return steps * batch * directions * rows * (size + hidden)

    return count


def _einsum(node: ir.Node, shapes: Shapes) -> int:
    """Each combination of index values takes one MAC; an ellipsis counts as one index of its whole size."""
    if len(node.inputs) != 2:
        return 0
    terms = str(attribute(node, "equation", "")).replace(" ", "").split("->")[0].split(",")
    sizes: dict[str, int] = {}
    for term, value in zip(terms, node.inputs, strict=True):
        for index, size in _labelled(term, _of(shapes, value)):
            sizes[index] = max(size, sizes.get(index, 1))
    return prod(sizes.values())


def _labelled(term: str, shape: Shape) -> Iterator[tuple[str, int]]:
    before, dots, after = term.partition("...")
    yield from zip(before, shape, strict=False)
    yield from zip(reversed(after), reversed(shape), strict=False)
    if dots:
        yield "...", prod(shape[len(before) : len(shape) - len(after)])


_COUNTERS: Mapping[str, Callable[[ir.Node, Shapes], int]] = {
    **dict.fromkeys(["MatMul", "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "MatMulNBits"], _matmul),
    "Gemm": _gemm,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Attention": _attention,
    "LSTM": _recurrent(4),
    "GRU": _recurrent(3),
    "RNN": _recurrent(1),
    "Einsum": _einsum,
}
