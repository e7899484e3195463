"""Give onnxruntime a model's weights where they lie in memory, instead of copies of them.

A model handed over as bytes is in memory four times while a session opens: the arrays, the bytes, onnxruntime's parsed message
and what its kernels make of the weights. Here the message holds the structure and the small constants; the large ones are
marked as external, and the session options say at which address each of them lies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort

from edgeopt.graph import files

_SMALLEST = 1 << 16  # bytes: smaller constants (shapes, scales, axes) are read by onnxruntime's rewrites
_SHARED = {
    ir.DataType.FLOAT,
    ir.DataType.FLOAT16,
    ir.DataType.DOUBLE,
    ir.DataType.INT8,
    ir.DataType.UINT8,
    ir.DataType.INT32,
    ir.DataType.INT64,
}
_NOWHERE = "weights-in-memory"


@dataclass(frozen=True)
class Shared:
    """A model without its large constants, as the bytes of an ONNX file, and these by name."""

    structure: bytes
    weights: dict[str, ort.OrtValue]

    def give(self, options: ort.SessionOptions) -> None:
        """Tell the session options where the large constants lie; the session must not outlive them."""
        if self.weights:
            options.add_external_initializers(list(self.weights), list(self.weights.values()))


def share(model: ir.Model) -> Shared | None:
    """Return the model in two parts, None where what cannot be shared does not fit one message."""
    large = {name: value.const_value for name, value in model.graph.initializers.items() if value.const_value is not None}
    shared = {name: tensor for name, tensor in large.items() if _is_shared(tensor)}
    if files.weights_bytes(model) - sum(tensor.nbytes for tensor in shared.values()) >= files.MOST_IN_MESSAGE:
        return None
    proto = files.structure(model, smallest=0, inputs=False)
    weights: dict[str, ort.OrtValue] = {}
    for name, tensor in large.items():
        if name not in shared:
            proto.graph.initializer.append(files.tensor_message(tensor, name, values=True))
            continue
        weights[name] = ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(tensor.numpy()))
        proto.graph.initializer.append(_reference(tensor, name))
    return Shared(proto.SerializeToString(deterministic=True), weights)


def _is_shared(tensor: ir.TensorProtocol) -> bool:
    return tensor.dtype in _SHARED and tensor.nbytes >= _SMALLEST


def _reference(tensor: ir.TensorProtocol, name: str) -> onnx.TensorProto:
    message = files.tensor_message(tensor, name, values=False)
    message.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", _NOWHERE), ("offset", "0"), ("length", str(tensor.nbytes))):
        message.external_data.add(key=key, value=value)
    return message
