"""Older operator sets brought up to a newer one, with what onnx's version converter gets wrong.

- It knows no local functions: they are inlined first (onnxruntime runs them inlined as well).
- It wants IR version 4 at least, where constants need not be inputs.
- Resize 10 and Upsample sample at ``x / scale``, Resize 11 by default at ``(x + 0.5) / scale - 0.5``; the converter leaves the
  default. Nearest neighbours are rounded down by the old where an axis grows and up where it shrinks, by the new one halfway.
"""

from __future__ import annotations

from itertools import chain, count

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
                _keep_sampling(node, rounding="floor")
        _shrink_apart(converted.graph)
    onnx.checker.check_model(converted)
    return files.from_proto(converted)


def _keep_sampling(node: onnx.NodeProto, *, rounding: str) -> None:
    modes = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": rounding}
    kept = [attribute for attribute in node.attribute if attribute.name not in modes]
    del node.attribute[:]
    node.attribute.extend([*kept, *(onnx.helper.make_attribute(name, value) for name, value in modes.items())])


def _shrink_apart(graph: onnx.GraphProto) -> None:
    """Let each Resize to nearest neighbours only grow, and another one behind it shrink, which rounds up.

    Before: x → Resize (s) → y        After: x → Resize (Max (s, 1), floor) → grown → Resize (Min (s, 1), ceil) → y
    """
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    names = {name for node in graph.node for name in (*node.input, *node.output)} | set(constants)
    for place, node in reversed(list(enumerate(graph.node))):
        modes = {attribute.name: attribute.s for attribute in node.attribute if attribute.name == "mode"}
        if node.op_type != "Resize" or modes.get("mode", b"nearest") != b"nearest" or len(node.input) < 3:
            continue
        scales = constants.get(node.input[2])
        if scales is not None and (scales >= 1).all():
            continue
        grown, grow, shrink, one = (_fresh(names, f"{node.output[0]}_{part}") for part in ("grown", "grow", "shrink", "one"))
        second = onnx.NodeProto()
        second.CopyFrom(node)
        if second.name:
            second.name = f"{node.name}_shrink"
        _keep_sampling(second, rounding="ceil")
        bounds = [onnx.helper.make_node(op, [node.input[2], one], [name]) for op, name in (("Max", grow), ("Min", shrink))]
        graph.initializer.append(onnx.helper.make_tensor(one, onnx.TensorProto.FLOAT, [1], [1.0]))
        node.input[2], node.output[0], second.input[0], second.input[2] = grow, grown, grown, shrink
        graph.node.insert(place + 1, second)
        for bound in bounds:
            graph.node.insert(place, bound)


def _fresh(names: set[str], wanted: str) -> str:
    """Return a name that is not in `names`, and add it to them."""
    name = next(name for name in chain([wanted], (f"{wanted}_{number}" for number in count(1))) if name not in names)
    names.add(name)
    return name
