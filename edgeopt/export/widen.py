"""Check bfloat16 graphs with a runtime that has no kernels for them: run the same graph in float32 arithmetic.

onnxruntime's CPU provider computes almost nothing in bfloat16; it refuses to load a MatMul of that type. The file is meant for
providers that do (GPUs, NPUs) and stays bfloat16 throughout. Its widened copy is run here: every bfloat16 weight becomes a
float32 of the same value; every other bfloat16 tensor, a float32 that is not rounded.

    Before: x bfloat16 → MatMul (w, bfloat16) → Cast (to bfloat16) → y bfloat16
    After:  x float32 → MatMul (w, the same numbers, float32) → Cast (to float32) → y float32

So structure, weights and order of operations are checked, and that every operator accepts its types (ONNX's own type
inference); how a provider rounds in between is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort

from edgeopt.batches import Array, Batch
from edgeopt.errors import ModelError
from edgeopt.graph.files import load, structure, write_temporary
from edgeopt.graph.session import open_session

WARNING = "bfloat16: onnxruntime's CPU provider has no kernels for it; verified in float32 arithmetic, on a widened copy"
_NARROW, _WIDE = ir.DataType.BFLOAT16, ir.DataType.FLOAT
_TYPE_ATTRIBUTES = ("to", "dtype", "output_dtype", "softmax_precision", "stash_type")
_SHAPE_BYTES = 1024
"""Constants up to this size may be shapes, which type inference reads."""


def holds_bfloat16(model: ir.Model) -> bool:
    """Return whether any tensor of `model` is bfloat16."""
    return any(value.dtype == _NARROW for value in _values(model))


def widened(model: ir.Model) -> ir.Model:
    """Return a copy of `model` whose bfloat16 tensors are float32; weights are converted when they are read."""
    wide = model.clone()
    for value in _values(wide):
        if value.dtype == _NARROW:
            value.type = ir.TensorType(_WIDE)  # a new one: clones share their types with the original
        tensor = value.const_value
        if tensor is not None and tensor.dtype == _NARROW:
            value.const_value = _wide(tensor)
    for node in wide.graph.all_nodes():
        for name in _TYPE_ATTRIBUTES:
            found = node.attributes.get(name)
            if found is not None and found.value == int(_NARROW):
                node.attributes[name] = ir.AttrInt64(name, int(_WIDE))
        constant = node.attributes.get("value")
        if constant is not None and constant.type == ir.AttributeType.TENSOR and constant.value.dtype == _NARROW:
            node.attributes["value"] = ir.AttrTensor("value", _wide(constant.value))
    return wide


def _wide(tensor: ir.TensorProtocol) -> ir.LazyTensor:
    def read() -> ir.TensorProtocol:
        return ir.tensor(tensor.numpy().astype(np.float32), name=tensor.name)

    return ir.LazyTensor(read, _WIDE, ir.Shape(tensor.shape.numpy()), name=tensor.name)


def _values(model: ir.Model) -> Iterator[ir.Value]:
    for graph in model.graphs():
        yield from graph.inputs
        yield from graph.initializers.values()
    for node in model.graph.all_nodes():
        yield from node.outputs


def runnable(graph: ir.Model, written: Sequence[Path], folder: Path) -> list[Path]:
    """Return the files to compare with PyTorch: those `written`, or a widened copy of the bfloat16 `graph` in `folder`.

    Raises:
        ModelError: an operator of this opset takes no bfloat16.
    """
    if not holds_bfloat16(graph):
        return list(written)
    _check_types(written[0])
    return list(write_temporary(widened(graph), folder / "widened.onnx"))


def _check_types(path: Path) -> None:
    """Let ONNX's type inference look at every node, since no session will."""
    try:
        onnx.shape_inference.infer_shapes(structure(load(path), smallest=_SHAPE_BYTES), check_type=True, strict_mode=True)
    except onnx.shape_inference.InferenceError as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"the bfloat16 graph is not valid ONNX: {reason}; choose a later opset, or float16") from error


def open_runnable(path: Path) -> ort.InferenceSession:
    """Open the small model at `path` on the CPU, widened where it is bfloat16."""
    model = ir.load(path)
    if not holds_bfloat16(model):
        return open_session(path)
    return open_session(ir.to_proto(widened(model)).SerializeToString())


def feed(session: ort.InferenceSession, batch: Batch) -> dict[str, Array]:
    """Return the inputs of `session` in `batch`, with bfloat16 arrays as float32 for a widened graph."""
    taken = [value.name for value in session.get_inputs()]
    return {name: batch[name].astype(np.float32) if batch[name].dtype == ml_dtypes.bfloat16 else batch[name] for name in taken}
