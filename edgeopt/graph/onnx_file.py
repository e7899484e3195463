"""ONNX files: read with errors that say what to do, written whole or not at all."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import BinaryIO

import onnx
from google.protobuf.message import DecodeError, Message
from onnx import TensorProto, external_data_helper, numpy_helper
from onnx.helper import tensor_dtype_to_np_dtype

from edgeopt.errors import ModelError
from edgeopt.files import disk_errors, flush, write_aside
from edgeopt.graph import files
from edgeopt.graph.signature import Signature, TensorSpec

_SMALLEST_OUTSIDE = 1024  # bytes of a constant from which on it goes into the data file
_ALIGNMENT = 4096  # bytes: a file that is mapped page by page can be read in place


def load(path: Path, *, weights: bool = True) -> onnx.ModelProto:
    """Read the ONNX file at `path`, with its external data unless `weights` is false.

    Raises:
        ModelError: the file is missing, is not ONNX, ends early, or its external data is missing or leaves the model's folder.
    """
    path = Path(path)
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
    files.check_types(model, str(path))
    missing = [file for file in _external_files(model, path.parent) if not file.is_file()]
    if missing:
        raise ModelError(f"{path}: its external data {missing[0].name} is missing; copy it beside the model")
    if weights:
        _load_external(model, path)
    return model


def _load_external(model: onnx.ModelProto, path: Path) -> None:
    try:
        external_data_helper.load_external_data_for_model(model, str(path.parent))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise ModelError(f"{path}: its external data cannot be read: {error}") from error


def external_files(path: Path) -> list[Path]:
    """Return the external data files that the model at `path` refers to, each once, sorted."""
    return _external_files(load(path, weights=False), Path(path).parent)


def _external_files(model: onnx.ModelProto, folder: Path) -> list[Path]:
    names = {
        entry.value
        for tensor in external_data_helper._get_all_tensors(model)
        if tensor.data_location == TensorProto.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    }
    for name in sorted(names):
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ModelError(f"external data location '{name}' leaves the model's folder; refused")
    return [folder / name for name in sorted(names)]


def size_bytes(path: Path) -> int:
    """Return the size of the model at `path` together with its external data."""
    return sum(file.stat().st_size for file in [Path(path), *external_files(path)])


def fits_one_message(model: onnx.ModelProto) -> bool:
    """Tell whether `model` stays below protobuf's limit of 2 GiB, counted by the shapes of its tensors.

    (`ByteSize` serialises the model to find out, and raises beyond the limit.)
    """
    total = 0
    for tensor in external_data_helper._get_all_tensors(model):
        total += math.prod(tensor.dims) * tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return total < files._TWO_GIB - files._STRUCTURE


def signature(model: onnx.ModelProto) -> Signature:
    """Return the inputs (initializers listed as inputs, as old exporters do, do not count) and outputs of `model`."""
    held = {tensor.name for tensor in model.graph.initializer}
    return Signature(
        inputs=tuple(_spec(value) for value in model.graph.input if value.name not in held),
        outputs=tuple(_spec(value) for value in model.graph.output),
    )


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    if not value.type.HasField("tensor_type"):
        return TensorSpec(value.name, "sequence", ())
    tensor = value.type.tensor_type
    shape = tuple(
        dimension.dim_value
        if dimension.HasField("dim_value") and dimension.dim_value >= 0  # (some exporters write -1 for an axis of any size)
        else (dimension.dim_param or "?")
        for dimension in tensor.shape.dim
    )
    dtype = "object" if tensor.elem_type == TensorProto.STRING else tensor_dtype_to_np_dtype(tensor.elem_type).name
    return TensorSpec(value.name, dtype, shape, ranked=tensor.HasField("shape"))


def save(model: onnx.ModelProto, path: Path, *, external: bool | None = None) -> list[Path]:
    """Write `model` to `path`, whole or not at all, and return the files written.

    Args:
        model: its tensors must be in memory; it is not changed.
        path: ends in ``.onnx`` by custom.
        external: put the weights into ``<name>.data`` beside it; None: only if protobuf's limit of 2 GiB demands it.
    """
    path = Path(path)
    if external is None:
        external = not fits_one_message(model)
    if not external:
        with write_aside(path) as aside:
            aside.write_bytes(model.SerializeToString(deterministic=True))
        return [path]
    return _save_with_data(model, path)


def _save_with_data(model: onnx.ModelProto, path: Path) -> list[Path]:
    """Write model and data into a folder aside; the old model goes first, so that it is never seen beside new data."""
    data_path = path.with_name(path.name + ".data")
    with disk_errors(path), tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        aside, aside_data = write_for_now(model, Path(folder) / path.name)
        flush(aside)
        flush(aside_data)
        path.unlink(missing_ok=True)
        aside_data.replace(data_path)
        aside.replace(path)
    return [path, data_path]


def write_for_now(model: onnx.ModelProto, path: Path) -> tuple[Path, Path]:
    """Write `model` and its weights beside it without waiting for the disk, for a file that goes again; return both paths."""
    data_path = path.with_name(path.name + ".data")
    with data_path.open("wb") as data:
        structure = _written_out(model, data, data_path.name)
    path.write_bytes(structure.SerializeToString(deterministic=True))
    return path, data_path


def _written_out(model: onnx.ModelProto, data: BinaryIO, location: str) -> onnx.ModelProto:
    """Write the large constants to `data`, one at a time, and return the model with references to them.

    (onnx's own writer wants a model that it may change: a copy of all weights.)
    """
    structure = without_constants(model)
    for tensor in list(external_data_helper._get_initializer_tensors(structure)):  # of subgraphs
        if _is_large(tensor):
            tensor.CopyFrom(_moved(tensor, data, location))
    for tensor in model.graph.initializer:
        structure.graph.initializer.append(_moved(tensor, data, location) if _is_large(tensor) else tensor)
    return structure


def _is_large(tensor: TensorProto) -> bool:
    if tensor.data_type == TensorProto.STRING:
        return False
    return bool(math.prod(tensor.dims) * tensor_dtype_to_np_dtype(tensor.data_type).itemsize >= _SMALLEST_OUTSIDE)


def _moved(tensor: TensorProto, data: BinaryIO, location: str) -> TensorProto:
    """Append the tensor's values to `data` and return a reference to them."""
    raw = tensor.raw_data if tensor.HasField("raw_data") else numpy_helper.from_array(numpy_helper.to_array(tensor)).raw_data
    data.write(bytes(-data.tell() % _ALIGNMENT))
    reference = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    reference.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", str(data.tell())), ("length", str(len(raw)))):
        reference.external_data.add(key=key, value=value)
    data.write(raw)
    return reference


def copy_of(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of the whole model, weights too: to change, or to let go of what was removed from `model`.

    (protobuf keeps what is removed from a message until the whole message goes.)
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of the model's default operator set."""
    return max((entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), default=1)


def import_own_operators(model: onnx.ModelProto) -> None:
    """Declare that the model has operators of onnxruntime's own (domain com.microsoft), unless it does so already."""
    if all(entry.domain != "com.microsoft" for entry in model.opset_import):
        model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))


def without_constants(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of the model without the constants of its main graph."""
    structure = onnx.ModelProto()
    _copy_fields(model, structure, "graph")
    _copy_fields(model.graph, structure.graph, "initializer")
    return structure


def _copy_fields(source: Message, copy: Message, left_out: str) -> None:
    """Copy all fields that are set but one."""
    for field, value in source.ListFields():
        if field.name == left_out:
            continue
        if isinstance(value, Message):
            getattr(copy, field.name).CopyFrom(value)
        elif isinstance(value, int | float | str | bytes):
            setattr(copy, field.name, value)
        else:
            getattr(copy, field.name).extend(value)
