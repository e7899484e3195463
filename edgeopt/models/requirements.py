"""The oldest onnxruntime that loads a model, by its operator set and its IR version.

From 1.15 on the table is measured: a one-node model stamped with each operator set and each IR version was loaded by the Python
wheel of each minor release on x86-64 Linux (1.15.1, 1.16.3, 1.17.3, 1.18.1, 1.19.2, 1.20.1, 1.21.1, 1.22.1, 1.23.2, 1.24.4,
1.25.1, 1.26.0 … 1.32.0; November 2026). Earlier rows are from https://onnxruntime.ai/docs/reference/compatibility.html.
That a release accepts an operator set does not promise a kernel for each of its operators: this is a lower bound.
"""

from __future__ import annotations

import onnx

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


def minimum_onnxruntime(model: onnx.ModelProto) -> str | None:
    """Return the oldest onnxruntime that accepts `model`'s default operator set and IR version; None if none is known to."""
    opset = opsets(model).get("ai.onnx", 1)
    for release, newest_opset, newest_ir in _RELEASES:
        if opset <= newest_opset and model.ir_version <= newest_ir:
            return release
    return None


def opsets(model: onnx.ModelProto) -> dict[str, int]:
    """Return the operator sets `model` imports, the default one under its long name ``ai.onnx``."""
    return {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
