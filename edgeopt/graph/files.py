"""ONNX files as onnx_ir models: read with errors that say what to do, written atomically.

Weights are never held twice. Those in a data file are mapped, not read; those inside the model's own file are taken over one by
one. What is written goes to the disk (or into the bytes that a session takes) tensor by tensor, after the structure without
weights: protobuf never sees them.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil, prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError
from onnx import external_data_helper
from onnx.external_data_helper import ExternalDataInfo
from onnx_ir.passes import common

from edgeopt.errors import ModelError
from edgeopt.files import disk_errors, flush, write_aside
from edgeopt.graph.external_data import check_external, inside, mapped
from edgeopt.graph.signature import Signature, TensorSpec
from edgeopt.graph.tensors import write_tensor

_STRING = onnx.TensorProto.STRING
_TYPES = set(onnx.TensorProto.DataType.values()) - {onnx.TensorProto.UNDEFINED}
MOST_IN_MESSAGE = 2**31 - 1 - (1 << 26)
"""Bytes of constants that fit one protobuf message beside nodes, names and texts."""
_SMALLEST_OUTSIDE = 1024  # bytes of a constant from which on it goes into the data file, or is not shown to shape inference
_ALIGNMENT = 4096  # bytes: a file that is mapped page by page can be read in place

# Field numbers of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto, for what is written without protobuf.
_MODEL_GRAPH, _GRAPH_INITIALIZER, _TENSOR_RAW_DATA = 7, 5, 9


def load(path: Path) -> ir.Model:
    """Read the ONNX file at `path`; its external data is mapped.

    Raises:
        ModelError: the file is missing, is not ONNX, ends early, or its external data is missing, too short or leaves the
            model's folder; a node reads a tensor that nothing produces, or nodes read each other in a circle.
    """
    path = Path(path)
    model = from_proto(_parsed(path), path)
    _refuse_unknown_inputs(model, path)
    try:
        common.TopologicalSortPass()(model)  # (ONNX asks for this order, and not every exporter keeps it)
    except ValueError as error:
        raise ModelError(f"{path}: its nodes read each other in a circle; export it again") from error
    return model


def _refuse_unknown_inputs(model: ir.Model, path: Path) -> None:
    """Raise an error where a node reads a tensor that is none: the model cannot run, and onnx_ir cannot copy it."""
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        for value in node.inputs:
            if value is not None and not (value.producer() or value.is_graph_input() or value.is_initializer()):
                raise ModelError(
                    f"{path}: node '{node.name}' ({node.op_type}) reads '{value.name}', which is no input, no constant and no "
                    f"output of a node; export it again"
                )


def load_structure(path: Path) -> ir.Model:
    """Read the structure of a model that onnxruntime has written to `path`; its data file may be gone."""
    model = onnx.ModelProto()
    model.ParseFromString(path.read_bytes())
    return as_ir(model)


def load_optimized(path: Path) -> ir.Model | None:
    """Read the graph that onnxruntime has written to `path`, None if it folded all nodes away."""
    model = onnx.ModelProto()
    model.ParseFromString(path.read_bytes())
    return from_proto(model, path) if model.graph.node else None


def _parsed(path: Path) -> onnx.ModelProto:
    if path.is_dir():
        inside = next(iter(sorted(path.glob("*.onnx"))), None)
        raise ModelError(f"{path}: a folder; give {'an .onnx file' if inside is None else f'the file in it: {inside}'}")
    if not path.is_file():
        raise ModelError(f"{path}: no such model file; give the path of an .onnx file")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise ModelError(
            f"{path}: not an ONNX file, or one that ends early ({path.stat().st_size:,} bytes); export or copy it again"
        ) from error
    if not model.graph.node or not model.opset_import:
        raise ModelError(
            f"{path}: not an ONNX model: it has no nodes or no operator set; give a file written by an ONNX exporter"
        )
    check_types(model, str(path))
    return model


def check_types(model: onnx.ModelProto, name: str) -> None:
    """Refuse unknown element types, sizes below 0, and constants that have more or fewer values than their shape.

    Raises:
        ModelError: naming the constant, input or output.
    """
    for tensor in external_data_helper._get_all_tensors(model):
        if tensor.data_type not in _TYPES or any(size < 0 for size in tensor.dims):
            raise ModelError(f"{name}: the constant {tensor.name!r} has no possible type or shape; export or copy it again")
        if tensor.data_location != onnx.TensorProto.EXTERNAL and not _is_whole(tensor):
            raise ModelError(
                f"{name}: the constant {tensor.name!r} does not have as many values as its shape says; export or copy it again"
            )
    for value in (*model.graph.input, *model.graph.output):
        kind = value.type.WhichOneof("value")
        if kind is None or (kind == "tensor_type" and value.type.tensor_type.elem_type not in _TYPES):
            raise ModelError(f"{name}: {value.name!r} is of no known element type; export or copy it again")


def _is_whole(tensor: onnx.TensorProto) -> bool:
    count, bits = prod(tensor.dims), ir.DataType(tensor.data_type).bitwidth if tensor.data_type != _STRING else 0
    if tensor.HasField("raw_data"):
        return bool(bits) and len(tensor.raw_data) == ceil(count * bits / 8)
    kept = len(getattr(tensor, onnx.helper.tensor_dtype_to_field(tensor.data_type)))
    if tensor.data_type in (onnx.TensorProto.COMPLEX64, onnx.TensorProto.COMPLEX128):
        return bool(kept == 2 * count)
    return bool(kept in (count, ceil(count * bits / 8)))  # (types below 8 bits are packed)


def from_proto(proto: onnx.ModelProto, path: Path | None = None) -> ir.Model:
    """Return an onnx_ir model that holds the weights itself, and no part of `proto`; external data lies beside `path`.

    Raises:
        ModelError: as `load` for the external data; or onnx_ir cannot read the structure.
    """
    name = "the model" if path is None else str(path)
    check_external(proto, name)
    try:
        model = as_ir(proto)
    except Exception as error:  # (its exception classes share no base but Exception)
        raise ModelError(f"{name}: its graph cannot be read: {_root(error)}") from error
    maps: dict[Path, np.memmap] = {}
    folder = Path() if path is None else path.parent
    for node in _all_nodes(model):
        for attribute in list(node.attributes.values()):
            if attribute.type == ir.AttributeType.TENSOR and isinstance(attribute.value, ir.ExternalTensor):
                held = mapped(attribute.value, folder, name, maps)
                node.attributes[attribute.name] = ir.AttrTensor(attribute.name, held)
    for graph in model.graphs():
        for value in graph.initializers.values():
            tensor = value.const_value
            if isinstance(tensor, ir.ExternalTensor):
                value.const_value = mapped(tensor, folder, name, maps)
            elif isinstance(tensor, ir.TensorProtoTensor):
                try:
                    value.const_value = _held(tensor)
                except (ValueError, TypeError, AssertionError) as error:
                    raise ModelError(f"{name}: the constant '{value.name}' cannot be read: {_root(error)}") from error
    return model


def _all_nodes(model: ir.Model) -> Iterator[ir.Node]:
    """Yield the nodes of the graph, of its subgraphs and of the model's functions."""
    yield from ir.traversal.RecursiveGraphIterator(model.graph)
    for function in model.functions.values():
        yield from ir.traversal.RecursiveGraphIterator(function)


def as_ir(model: onnx.ModelProto) -> ir.Model:
    """Return a protobuf model as an onnx_ir model that shares its weights."""
    with _without_maps(model), _dense(model):
        read = ir.from_proto(model)
    for proto, node in zip(model.graph.node, read.graph, strict=True):
        if not proto.name:
            node.name = ""  # onnx_ir makes one up
    return read


@contextmanager
def _without_maps(model: onnx.ModelProto) -> Iterator[None]:
    """Take the types of maps, which onnx_ir does not know, out of the graph while the block runs: such values have none."""
    graph = model.graph
    values = [value for value in (*graph.input, *graph.output, *graph.value_info) if _is_map(value.type)]
    kinds = [value.type.SerializeToString() for value in values]
    for value in values:
        value.ClearField("type")
    try:
        yield
    finally:
        for value, kind in zip(values, kinds, strict=True):
            value.type.ParseFromString(kind)


def _is_map(kind: onnx.TypeProto) -> bool:
    match kind.WhichOneof("value"):
        case "map_type":
            return True
        case "sequence_type":
            return _is_map(kind.sequence_type.elem_type)
        case "optional_type":
            return _is_map(kind.optional_type.elem_type)
        case _:
            return False


@contextmanager
def _dense(model: onnx.ModelProto) -> Iterator[None]:
    """Turn sparse constants into dense ones while the block runs: onnx_ir has no others."""
    graph = model.graph
    count = len(graph.initializer)
    for sparse in graph.sparse_initializer:
        graph.initializer.append(_densified(sparse))
    sparse_ones = [sparse.SerializeToString() for sparse in graph.sparse_initializer]
    del graph.sparse_initializer[:]
    try:
        yield
    finally:
        del graph.initializer[count:]
        for stored in sparse_ones:
            graph.sparse_initializer.add().ParseFromString(stored)


def _densified(sparse: onnx.SparseTensorProto) -> onnx.TensorProto:
    """Return the tensor with zeros for what is not stored: by places in it, [n], or by coordinates, [n, rank]."""
    values, indices = onnx.numpy_helper.to_array(sparse.values), onnx.numpy_helper.to_array(sparse.indices)
    if prod(sparse.dims) * values.itemsize > MOST_IN_MESSAGE:
        raise ValueError(f"the sparse constant '{sparse.values.name}' would be {prod(sparse.dims) * values.itemsize:,} bytes")
    dense = np.zeros(tuple(sparse.dims), dtype=values.dtype)
    dense[np.unravel_index(indices, dense.shape) if indices.ndim == 1 else tuple(indices.T)] = values
    return onnx.numpy_helper.from_array(dense, sparse.values.name)


def _root(error: BaseException) -> str:
    """Return the first line of the error that began it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _held(tensor: ir.TensorProtoTensor) -> ir.TensorProtocol:
    """Return the tensor without the protobuf message it was read from."""
    about: dict[str, Any] = {"name": tensor.name, "doc_string": tensor.doc_string, "metadata_props": tensor.metadata_props}
    if tensor.dtype.bitwidth < 8:
        packed = np.frombuffer(tensor.tobytes(), dtype=np.uint8)
        return ir.PackedTensor(packed, tensor.dtype, shape=tensor.shape, **about)
    return ir.Tensor(tensor.numpy(), tensor.dtype, shape=tensor.shape, **about)


def external_files(path: Path) -> list[Path]:
    """Return the external data files that the model at `path` refers to, each once, sorted.

    Raises:
        ModelError: the file is missing or not ONNX, or one of them leaves the model's folder.
    """
    from onnx.external_data_helper import _get_all_tensors

    path = Path(path)
    names = {
        ExternalDataInfo(tensor).location
        for tensor in _get_all_tensors(_parsed(path))
        if tensor.data_location == onnx.TensorProto.EXTERNAL
    }
    return [inside(name, path.parent) for name in sorted(names)]


def size_bytes(path: Path) -> int:
    """Return the size of the model at `path` together with its external data."""
    return sum(file.stat().st_size for file in [Path(path), *external_files(path)])


def signature(model: ir.Model) -> Signature:
    """Return the inputs (initializers listed as inputs, as old exporters do, do not count) and outputs of `model`."""
    graph = model.graph
    return Signature(
        inputs=tuple(_spec(value) for value in graph.inputs if value.name not in graph.initializers),
        outputs=tuple(_spec(value) for value in graph.outputs),
    )


def _spec(value: ir.Value) -> TensorSpec:
    if not isinstance(value.type, ir.TensorType):  # (a map, or what holds one, has none: `_without_maps`)
        return TensorSpec(value.name or "", "sequence", ())
    shape = tuple(_axis(size) for size in value.shape or ())
    dtype = value.dtype or ir.DataType.UNDEFINED
    name = "object" if dtype == ir.DataType.STRING else dtype.numpy().name
    return TensorSpec(value.name or "", name, shape, ranked=value.shape is not None)


def _axis(size: int | ir.SymbolicDim) -> int | str:
    if isinstance(size, int):
        return size if size >= 0 else "?"  # (some exporters write -1 for an axis of any size)
    return size.value or "?"


def weights_bytes(model: ir.Model) -> int:
    """Return the bytes that all constants of the model take, counted by their shapes."""
    return sum(tensor.nbytes for graph in model.graphs() for tensor in _tensors(graph))


def _tensors(graph: ir.Graph) -> Iterator[ir.TensorProtocol]:
    for value in graph.initializers.values():
        if value.const_value is not None:
            yield value.const_value


def fits_one_message(model: ir.Model) -> bool:
    """Return whether `model` stays below protobuf's limit of 2 GiB, counted by the shapes of its tensors."""
    return weights_bytes(model) < MOST_IN_MESSAGE


def structure(model: ir.Model, *, smallest: int = _SMALLEST_OUTSIDE, inputs: bool = True) -> onnx.ModelProto:
    """Return the model without the values of constants of `smallest` bytes and more, for what looks at types and shapes.

    Args:
        model: is not changed.
        smallest: 0 leaves all of them out.
        inputs: list those left out as inputs of the graph, so that their types are known.
    """
    graph = model.graph
    large = [
        value for value in graph.initializers.values() if value.const_value is None or value.const_value.nbytes >= smallest
    ]
    left = set(large)
    listed = set(graph.inputs)
    view = ir.GraphView(
        inputs=[*graph.inputs, *(value for value in large if value not in listed)] if inputs else graph.inputs,
        outputs=graph.outputs,
        nodes=graph,
        initializers=[value for value in graph.initializers.values() if value not in left],
        name=graph.name,
        doc_string=graph.doc_string,
        metadata_props=graph.metadata_props,
    )
    view.opset_imports = graph.opset_imports
    shown = ir.Model(
        view,  # type: ignore[arg-type]  # it is only serialized
        ir_version=model.ir_version,
        producer_name=model.producer_name,
        producer_version=model.producer_version,
        domain=model.domain,
        model_version=model.model_version,
        doc_string=model.doc_string,
        functions=list(model.functions.values()),
        metadata_props=model.metadata_props,
    )
    return ir.to_proto(shown)


def save(model: ir.Model, path: Path, *, external: bool | None = None) -> list[Path]:
    """Write `model` to `path` atomically and return the files written.

    Args:
        model: is not changed.
        path: ends in ``.onnx`` by custom.
        external: put the weights into ``<name>.data`` beside it; None: only if protobuf's limit of 2 GiB demands it.
    """
    path = Path(path)
    if external is None:
        external = not fits_one_message(model)
    if not external:
        with write_aside(path) as aside, aside.open("wb") as file:
            _write_whole(model, file)
        return [path]
    return _save_with_data(model, path)


def _save_with_data(model: ir.Model, path: Path) -> list[Path]:
    """Write model and data into a folder aside; the old model goes first, so that it is never seen beside new data."""
    data_path = path.with_name(path.name + ".data")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with disk_errors(path), tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        aside, aside_data = write_temporary(model, Path(folder) / path.name)
        flush(aside)
        flush(aside_data)
        path.unlink(missing_ok=True)
        aside_data.replace(data_path)
        aside.replace(path)
    return [path, data_path]


def write_temporary(model: ir.Model, path: Path) -> tuple[Path, Path]:
    """Write `model` and its weights beside it without waiting for the disk, for a temporary file; return both paths."""
    data_path = path.with_name(path.name + ".data")
    proto = structure(model, smallest=0, inputs=False)
    written: dict[tuple[int, int], int] = {}
    with data_path.open("wb") as data:
        for value in model.graph.initializers.values():
            if value.const_value is not None:
                proto.graph.initializer.append(_outside(value.const_value, value.name or "", data, data_path.name, written))
    path.write_bytes(proto.SerializeToString(deterministic=True))
    return path, data_path


def _outside(
    tensor: ir.TensorProtocol, name: str, data: BinaryIO, location: str, written: dict[tuple[int, int], int]
) -> onnx.TensorProto:
    """Append the values of a large tensor to `data` and return a reference to them; a small one as it is.

    Tensors that are views of the same memory (an embedding that is the head, too, in another shape) are written once;
    `written` has where each memory went.
    """
    if tensor.nbytes < _SMALLEST_OUTSIDE or tensor.dtype == ir.DataType.STRING:
        return tensor_message(tensor, name, values=True)
    memory = _memory(tensor)
    start = written.get(memory) if memory is not None else None
    if start is None:
        data.write(bytes(-data.tell() % _ALIGNMENT))
        start = data.tell()
        write_tensor(tensor, data)
        if memory is not None:
            written[memory] = start
    reference = tensor_message(tensor, name, values=False)
    reference.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", str(start)), ("length", str(tensor.nbytes))):
        reference.external_data.add(key=key, value=value)
    return reference


def _memory(tensor: ir.TensorProtocol) -> tuple[int, int] | None:
    """Return the address and size of the values of a tensor that holds them in one piece, None for any other."""
    if not isinstance(tensor, ir.Tensor) or tensor.dtype.bitwidth < 8:
        return None
    values = tensor.numpy()
    return (values.ctypes.data, values.nbytes) if values.flags.c_contiguous else None


def tensor_message(tensor: ir.TensorProtocol, name: str, *, values: bool) -> onnx.TensorProto:
    """Return a constant as a protobuf message, with its values or (to be stored elsewhere) without."""
    message = onnx.TensorProto(name=name, data_type=tensor.dtype.value, dims=tensor.shape.numpy())
    if tensor.doc_string:
        message.doc_string = tensor.doc_string
    if values and isinstance(tensor, ir.StringTensor):
        message.string_data.extend(tensor.string_data())
    elif values:
        message.raw_data = tensor.tobytes()
    return message


def serialized(model: ir.Model) -> bytes:
    """Return the model as one ONNX file in memory; it must fit into one message."""
    buffer = io.BytesIO()
    _write_whole(model, buffer)
    return buffer.getvalue()  # (which hands over the buffer's own bytes)


def _write_whole(model: ir.Model, file: BinaryIO) -> None:
    """Write the model: everything but the graph, then the graph's structure, then its constants one by one."""
    proto = structure(model, smallest=0, inputs=False)
    graph = proto.graph.SerializeToString(deterministic=True)
    proto.ClearField("graph")
    constants = [
        (value.const_value, _header(value.const_value, value.name or ""))
        for value in model.graph.initializers.values()
        if value.const_value is not None
    ]
    length = len(graph) + sum(len(header) + _raw_bytes(tensor) for tensor, header in constants)
    file.write(proto.SerializeToString(deterministic=True))
    file.write(_key(_MODEL_GRAPH) + _varint(length) + graph)
    for tensor, header in constants:
        file.write(header)
        if _raw_bytes(tensor):
            write_tensor(tensor, file)


def _raw_bytes(tensor: ir.TensorProtocol) -> int:
    return 0 if tensor.dtype == ir.DataType.STRING else tensor.nbytes


def _header(tensor: ir.TensorProtocol, name: str) -> bytes:
    """Return an initializer's bytes up to its values."""
    raw = _raw_bytes(tensor)
    message: bytes = tensor_message(tensor, name, values=raw == 0).SerializeToString(deterministic=True)
    if raw:
        message += _key(_TENSOR_RAW_DATA) + _varint(raw)
    return _key(_GRAPH_INITIALIZER) + _varint(len(message) + raw) + message


def _key(field: int) -> bytes:
    """Return the tag of a field with a length (https://protobuf.dev/programming-guides/encoding)."""
    return _varint(field << 3 | 2)


def _varint(number: int) -> bytes:
    """Return a number as seven bits a byte, the lowest first; the top bit says that more follow."""
    groups: list[int] = []
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*groups, number])
