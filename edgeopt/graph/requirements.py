"""The oldest onnxruntime that loads a model, by its operator set, its IR version and the contrib operators in it.

From 1.15 on the table is measured: a one-node model stamped with each operator set and each IR version was loaded by the Python
wheel of each minor release on x86-64 Linux (1.15.1, 1.16.3, 1.17.3, 1.18.1, 1.19.2, 1.20.1, 1.21.1, 1.22.1, 1.23.2, 1.24.4,
1.25.1, 1.26.0 … 1.32.0; November 2026). Earlier rows are from https://onnxruntime.ai/docs/reference/compatibility.html.
That a release accepts an operator set does not promise a kernel for each of its operators: this is a lower bound.

Of the contrib operators (com.microsoft) those that the quantization schemes write were measured the same way, and run:
MatMulNBits and GatherBlockQuantized as the schemes for weights alone write them, QuantizeLinear to 16 bits. Others count as
known to every release; MatMulIntegerToFloat, as static quantization writes it, gave the same answer in 1.15.1, 1.17.3, 1.20.1
and 1.32.0.
"""

from __future__ import annotations

import onnx_ir as ir

from edgeopt.graph.editing import opset_of
from edgeopt.graph.matching import attribute, constant

MINIMUM = "edgeopt.min_onnxruntime"
"""The key of a model's metadata under which that release stands."""

# (onnxruntime, newest default operator set, newest IR version), oldest first; releases that brought neither are left out
_RELEASES = (
    ("1.7", 13, 7),
    ("1.8", 14, 7),
    ("1.10", 15, 8),
    ("1.11", 16, 8),
    ("1.12", 17, 8),
    ("1.14", 18, 8),
    ("1.15", 19, 9),
    ("1.17", 20, 9),
    ("1.18", 21, 10),
    ("1.21", 22, 10),
    ("1.23", 23, 11),
    ("1.24", 25, 13),
    ("1.25", 26, 13),
    ("1.32", 28, 14),
)

_SIXTEEN_BITS = (ir.DataType.INT16, ir.DataType.UINT16)


def minimum_onnxruntime(model: ir.Model) -> str | None:
    """Return the oldest onnxruntime that accepts `model`'s operators and IR version; None if none is known to."""
    opset = opset_of(model)
    accepting = [
        release for release, newest_opset, newest_ir in _RELEASES if opset <= newest_opset and model.ir_version <= newest_ir
    ]
    if not accepting:
        return None
    return max([accepting[0], *(_of_contrib(node) for node in model.graph if node.domain == "com.microsoft")], key=_number)


def latest(*releases: str | None) -> str | None:
    """Return the latest of these releases of onnxruntime, which runs what each of them runs; None if one is not known."""
    known = [release for release in releases if release is not None]
    return max(known, key=_number) if len(known) == len(releases) else None


def _of_contrib(node: ir.Node) -> str:
    """Return the oldest release that runs a contrib operator of onnxruntime, in the form of this node."""
    if node.op_type in {"QuantizeLinear", "DequantizeLinear"}:
        return "1.17" if len(node.inputs) > 2 and _dtype(node.inputs[2]) in _SIXTEEN_BITS else _RELEASES[0][0]
    if node.op_type == "GatherBlockQuantized":
        return "1.20"
    if node.op_type != "MatMulNBits":
        return _RELEASES[0][0]
    if attribute(node, "bits", 4) == 8:
        return "1.22" if attribute(node, "accuracy_level") == 4 else "1.23"
    if len(node.inputs) > 3 and _dtype(node.inputs[3]) == ir.DataType.FLOAT:
        return "1.18"
    return "1.17" if "accuracy_level" in node.attributes else "1.16"


def _dtype(value: ir.Value | None) -> ir.DataType | None:
    tensor = constant(value)
    return None if tensor is None else tensor.dtype


def _number(release: str) -> tuple[int, ...]:
    return tuple(map(int, release.split(".")))


def note_minimum(model: ir.Model) -> str | None:
    """Write the oldest onnxruntime that loads the model into its metadata, and return it."""
    oldest = minimum_onnxruntime(model)
    model.metadata_props.pop(MINIMUM, None)
    if oldest:
        model.metadata_props[MINIMUM] = oldest
    return oldest


def opsets(model: ir.Model) -> dict[str, int]:
    """Return the operator sets `model` imports, the default one under its long name ``ai.onnx``."""
    return {domain or "ai.onnx": version for domain, version in model.opset_imports.items()}
