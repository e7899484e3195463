"""Which nodes would round values that stand for infinity, or make room for them at the cost of everything else."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from edgeopt.graph.matching import array, name_of
from edgeopt.quantize.affine import Affine
from edgeopt.quantize.calibrate.statistics import TensorStatistics
from edgeopt.quantize.infinite_values import LARGEST, holds_infinity
from edgeopt.quantize.plan.operands import FIRST_ALONE
from edgeopt.quantize.plan.plan import Plan

_BIASED = {"Conv", "ConvTranspose", "Gemm"}
_LOOKED_AT = "edgeopt.infinite"
_MOST = 2.0  # times as large: half of the levels of the weights


def infinite_operand(node: ir.Node) -> str:
    """Return the constant that `node` would read rounded although it holds infinity; "" if there is none."""
    read = node.inputs[:1] if node.op_type in FIRST_ALONE else node.inputs
    return next((name_of(value) for value in read if value is not None and _is_infinite(value)), "")


def _is_infinite(value: ir.Value) -> bool:
    """Return whether a constant holds infinity; its values are looked at once, since placements are tried by the hundred."""
    tensor = value.const_value
    known, found = value.meta.get(_LOOKED_AT, (None, False))
    if known is not tensor:
        values = array(value)
        found = values is not None and holds_infinity(values)
        value.meta[_LOOKED_AT] = (tensor, found)
    return bool(found)


def is_infinite(statistics: TensorStatistics) -> bool:
    """Return whether a tensor took values on the samples that stand for infinity."""
    return statistics.count > 0 and max(-statistics.minimum, statistics.maximum) >= LARGEST


def drowned_by_bias(model: ir.Model, plan: Plan) -> Iterator[str]:
    """Yield the nodes whose one weight scale would have to grow so much for the bias that the weights lose their levels.

    With a scale per channel only the channel of that bias loses them, and its output is the bias.
    """
    scheme = plan.scheme
    integer = {node.name: node for node in plan.integer_nodes}
    ranges = {tensor.name: tensor for tensor in plan.tensors}
    for node in model.graph:
        if node.name not in integer or node.op_type not in _BIASED or len(node.inputs) < 3 or scheme.has_channels(node.op_type):
            continue
        tensor = ranges.get(name_of(node.inputs[0]))
        weight, bias = (array(value) for value in node.inputs[1:3])
        if tensor is None or weight is None or bias is None:
            continue
        given = Affine.of_range(tensor.low, tensor.high, tensor.dtype, symmetric=scheme.symmetric_activation)
        reduced = integer[name_of(node)].reduce_range
        found = Affine.of_values(weight, "int8", axis=None, symmetric=True, reduced=reduced)
        if float(found.with_room_for(bias, given).scale) > _MOST * float(found.scale):
            yield name_of(node)
