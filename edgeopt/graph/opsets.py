"""Older operator sets brought up to a newer one, with what onnx's version converter gets wrong.

- It knows no local functions: they are inlined first (onnxruntime runs them inlined as well).
- It wants IR version 4 at least, where constants need not be inputs.
- Resize 10 and Upsample sample at ``x / scale``, Resize 11 by default at ``(x + 0.5) / scale - 0.5``; the converter leaves the
  default. Nearest neighbours are rounded down by the old, not by the new one.
"""

from __future__ import annotations

import onnx
import onnx_ir as ir
from onnx import version_converter
from onnx_ir.passes import common

from edgeopt.graph import files
from edgeopt.graph.editing import opset_of

_FIRST_RESIZE_WITH_MODES = 11
_FIRST_IR_WITH_CONSTANTS = 4


def inline_functions(model: ir.Model) -> int:
    """Put the nodes of local functions where they are called, in place; return how many functions there were."""
    count = len(model.functions)
    if count:
        common.InlinePass()(model)
        model.functions.clear()
        common.RemoveUnusedOpsetsPass()(model)
    return count


def upgrade(model: ir.Model, version: int) -> ir.Model:
    """Return `model`, which has no local functions, in operator set `version`; an error of onnx's converter gets through."""
    old = opset_of(model) < _FIRST_RESIZE_WITH_MODES
    model.ir_version = max(model.ir_version or 0, _FIRST_IR_WITH_CONSTANTS)
    converted = version_converter.convert_version(ir.to_proto(model), version)
    if old:
        for node in converted.graph.node:
            if node.op_type == "Resize":
                _keep_sampling(node)
    onnx.checker.check_model(converted)
    return files.from_proto(converted)


def _keep_sampling(node: onnx.NodeProto) -> None:
    modes = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    kept = [attribute for attribute in node.attribute if attribute.name not in modes]
    del node.attribute[:]
    node.attribute.extend([*kept, *(onnx.helper.make_attribute(name, value) for name, value in modes.items())])
