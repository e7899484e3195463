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

from edgeopt.data.batches import Batch
from edgeopt.errors import ModelError
from edgeopt.graph import onnx_file

_SMALL = 64  # elements of an initializer that may be a shape

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]


def count_macs(model: onnx.ModelProto, batch: Batch) -> dict[str, int]:
    """Return the MACs of each node of the main graph that has any, by node name (by first output where it has no name).

    Args:
        model: with its weights in memory; it is not changed.
        batch: one batch of real inputs.

    Raises:
        ModelError: onnxruntime cannot run the model on this batch, which only matters where shapes cannot be inferred.
    """
    nodes = [node for node in model.graph.node if node.op_type in _COUNTERS and node.domain in {"", "ai.onnx", "com.microsoft"}]
    wanted = [name for node in nodes for name in (*node.input, *node.output) if name]
    shapes = tensor_shapes(model, batch, wanted)
    macs = {node.name or node.output[0]: _COUNTERS[node.op_type](node, shapes) for node in nodes}
    return {name: count for name, count in macs.items() if count}


def integer_products(model: onnx.ModelProto) -> set[str]:
    """Return the nodes, named as above, whose two factors are dequantized, or that multiply integers and give floats."""
    dequantized = {node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    return {
        node.name or node.output[0]
        for node in model.graph.node
        if node.op_type == "MatMulIntegerToFloat" or (len(node.input) > 1 and set(node.input[:2]) <= dequantized)
    }


def tensor_shapes(model: onnx.ModelProto, batch: Batch, tensors: list[str]) -> dict[str, Shape]:
    """Return the shapes that `tensors` of the main graph take on `batch`."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    shapes |= {name: array.shape for name, array in batch.items()}
    missing = [name for name in dict.fromkeys(tensors) if name not in shapes]
    if missing:
        shapes |= _inferred(model, batch)
        missing = [name for name in missing if name not in shapes]
    if missing:
        shapes |= _measured(model, batch, missing)
    return {name: shapes[name] for name in tensors}


def _inferred(model: onnx.ModelProto, batch: Batch) -> dict[str, Shape]:
    """Infer shapes on a copy whose inputs have the batch's sizes and whose inner shapes are forgotten."""
    copy = without_weights(model)
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


def without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy for shape inference, in which large initializers are inputs: their values say nothing about shapes."""
    copy = onnx.ModelProto(ir_version=max(model.ir_version, 4))
    copy.opset_import.extend(model.opset_import)
    copy.functions.extend(model.functions)
    graph = copy.graph
    graph.name = model.graph.name
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    graph.value_info.extend(model.graph.value_info)
    held = {value.name for value in graph.input}
    for tensor in model.graph.initializer:
        if prod(tensor.dims) <= _SMALL:
            graph.initializer.append(tensor)
        elif tensor.name not in held:
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    return copy


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


def _measured(model: onnx.ModelProto, batch: Batch, tensors: list[str]) -> dict[str, Shape]:
    from edgeopt.targets.session import SessionConfig, open_model

    copy = onnx_file.copy_of(model)
    del copy.graph.output[:]
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors)
    session = open_model(copy, config=SessionConfig(optimization="none"))
    try:
        values = session.run(tensors, dict(batch))
    except Exception as error:
        raise ModelError(f"the model cannot run on its sample batch: {str(error).splitlines()[0][:300]}") from error
    return {name: tuple(value.shape) for name, value in zip(tensors, values, strict=True)}


def _matmul(node: onnx.NodeProto, shapes: Shapes) -> int:
    """[…, M, K] · [K, N] or [K]: each output element takes K."""
    return prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]


def _gemm(node: onnx.NodeProto, shapes: Shapes) -> int:
    transposed = _attribute(node, "transA", 0)
    return prod(shapes[node.output[0]]) * shapes[node.input[0]][0 if transposed else 1]


def _conv(node: onnx.NodeProto, shapes: Shapes) -> int:
    """Weight [out, in / groups, …kernel]: each output element takes in / groups · kernel."""
    return prod(shapes[node.output[0]]) * prod(shapes[node.input[1]][1:])


def _conv_transpose(node: onnx.NodeProto, shapes: Shapes) -> int:
    """Weight [in, out / groups, …kernel]: each input element reaches out / groups · kernel outputs."""
    return prod(shapes[node.input[0]]) * prod(shapes[node.input[1]][1:])


def _attention(node: onnx.NodeProto, shapes: Shapes) -> int:
    """Q·Kᵀ and P·V of the standard operator: heads · queries · keys · (size of a key + size of a value), for each sample.

    Q is [batch, heads, queries, size] or [batch, queries, heads · size]; a past in inputs 4 and 5 lengthens the keys.
    """
    query, key, value = (shapes[name] for name in node.input[:3])
    past = shapes[node.input[4]][2] if len(node.input) > 4 and node.input[4] else 0
    if len(query) == 4:
        batch, heads, queries, size = query
        return batch * heads * queries * (key[2] + past) * (size + value[3])
    batch, queries, width = query
    groups = _attribute(node, "q_num_heads", 1) // max(_attribute(node, "kv_num_heads", 1), 1)
    return batch * queries * (key[1] + past) * (width + value[2] * max(groups, 1))


def _recurrent(gates: int) -> Callable[[onnx.NodeProto, Shapes], int]:
    """X is [steps, batch, input], W [directions, gates · hidden, input], R [directions, gates · hidden, hidden]."""

    def count(node: onnx.NodeProto, shapes: Shapes) -> int:
        steps, batch, size = shapes[node.input[0]]
        directions, rows, hidden = shapes[node.input[2]]
        if rows != gates * hidden:
            raise ModelError(
                f"node '{node.name}' ({node.op_type}): recurrence weight has {rows} rows for {hidden} hidden units"
            )
        return steps * batch * directions * rows * (size + hidden)

    return count


def _einsum(node: onnx.NodeProto, shapes: Shapes) -> int:
    """Each combination of index values takes one MAC; an ellipsis counts as one index of its whole size."""
    if len(node.input) != 2:
        return 0
    terms = _attribute_text(node, "equation").replace(" ", "").split("->")[0].split(",")
    sizes: dict[str, int] = {}
    for term, name in zip(terms, node.input, strict=True):
        for index, size in _labelled(term, shapes[name]):
            sizes[index] = max(size, sizes.get(index, 1))
    return prod(sizes.values())


def _labelled(term: str, shape: Shape) -> Iterator[tuple[str, int]]:
    before, dots, after = term.partition("...")
    yield from zip(before, shape, strict=False)
    yield from zip(reversed(after), reversed(shape), strict=False)
    if dots:
        yield "...", prod(shape[len(before) : len(shape) - len(after)])


def _attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == name), default)


def _attribute_text(node: onnx.NodeProto, name: str) -> str:
    return next((attribute.s.decode() for attribute in node.attribute if attribute.name == name), "")


_COUNTERS: Mapping[str, Callable[[onnx.NodeProto, Shapes], int]] = {
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
