"""Constants outside of the model's file: where they may lie, and how they are mapped.

A model names its data file, and the place in it. Both are untrusted text: the name must not lead out of the model's folder, and
the place is two whole numbers within the file.
"""

from __future__ import annotations

from math import ceil, prod
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnx import external_data_helper

from edgeopt.errors import ModelError

_LONGEST_NAME = 255  # bytes that file systems allow


def check_external(model: onnx.ModelProto, name: str) -> None:
    """Refuse constants in a data file whose place in it is not two whole numbers of at least 0.

    Raises:
        ModelError: naming the constant.
    """
    for tensor in external_data_helper._get_all_tensors(model):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        for entry in tensor.external_data:
            if entry.key in ("offset", "length") and not (entry.value.isascii() and entry.value.isdecimal()):
                raise ModelError(
                    f"{name}: the constant {tensor.name!r} lies at the {entry.key} {entry.value[:40]!r} of its data file, "
                    "which is no whole number of at least 0; export or copy the model again"
                )


def mapped(tensor: ir.ExternalTensor, folder: Path, model: str, maps: dict[Path, np.memmap]) -> ir.TensorProtocol:
    """Return the tensor on the pages of its data file, each of which is mapped once."""
    path = inside(str(tensor.location), folder)
    if not path.is_file():
        raise ModelError(f"{model}: its external data {path.name} is missing; copy it beside the model")
    start, size = tensor.offset or 0, ceil(prod(tensor.shape.numpy()) * tensor.dtype.bitwidth / 8)
    if size == 0:
        return ir.Tensor(np.empty(tensor.shape.numpy(), dtype=tensor.dtype.numpy()), tensor.dtype, name=tensor.name)
    if start + size > path.stat().st_size or (tensor.length is not None and tensor.length != size):
        raise ModelError(
            f"{model}: its external data {path.name} ends early or is of another model ({path.stat().st_size:,} bytes, "
            f"'{tensor.name}' takes {size:,} at {start:,}); copy it again"
        )
    if path not in maps:
        maps[path] = np.memmap(path, dtype=np.uint8, mode="r")
    data = maps[path][start : start + size].view(np.ndarray)
    if tensor.dtype.bitwidth < 8:
        return ir.PackedTensor(data, tensor.dtype, shape=tensor.shape, name=tensor.name)
    if start % tensor.dtype.itemsize:
        data = data.copy()
    array = data.view(tensor.dtype.numpy()).reshape(tensor.shape.numpy())
    return ir.Tensor(array, tensor.dtype, shape=tensor.shape, name=tensor.name)


def inside(location: str, folder: Path) -> Path:
    """Return the path of the data file `location` in the model's folder.

    Raises:
        ModelError: it leaves the folder, or is no name of a file.
    """
    path = Path(location)
    if path.is_absolute() or ".." in path.parts:
        raise ModelError(f"external data location '{location}' leaves the model's folder; refused")
    if not location or "\0" in location or any(len(part.encode("utf-8", "replace")) > _LONGEST_NAME for part in path.parts):
        raise ModelError(f"external data location {location[:80]!r} is no name of a file; export or copy the model again")
    return folder / path
