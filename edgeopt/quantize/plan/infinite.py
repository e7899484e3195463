"""Which nodes would round values that stand for infinity, or make room for them at the cost of everything else."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx import numpy_helper

from edgeopt.graph.index import GraphIndex
from edgeopt.quantize.affine import Affine
from edgeopt.quantize.apply.operands import FIRST_ALONE
from edgeopt.quantize.calibrate.statistics import TensorStatistics
from edgeopt.quantize.infinite import LARGEST, holds_infinity
from edgeopt.quantize.plan.plan import Plan

_BIASED = {"Conv", "ConvTranspose", "Gemm"}
_MOST = 2.0  # times as large: half of the levels of the weights


def infinite_operand(node: onnx.NodeProto, index: GraphIndex) -> str:
    """Return the constant that `node` would read rounded although it holds infinity; "" if there is none."""
    places = range(1) if node.op_type in FIRST_ALONE else range(len(node.input))
    constants = [index.initializers[node.input[place]] for place in places if node.input[place] in index.initializers]
    return next((tensor.name for tensor in constants if holds_infinity(numpy_helper.to_array(tensor))), "")


def is_infinite(statistics: TensorStatistics) -> bool:
    """Tell whether a tensor took values on the samples that stand for infinity."""
    return statistics.count > 0 and max(-statistics.minimum, statistics.maximum) >= LARGEST


def drowned_by_bias(model: onnx.ModelProto, plan: Plan) -> Iterator[str]:
    """Yield the nodes whose one weight scale would have to grow so much for the bias that the weights lose their levels.

    With a scale per channel only the channel of that bias loses them, and its output is the bias.
    """
    index, scheme = GraphIndex(model.graph), plan.scheme
    integer = {node.name: node for node in plan.integer_nodes}
    ranges = {tensor.name: tensor for tensor in plan.tensors}
    for node in model.graph.node:
        channels = scheme.per_channel and node.op_type in scheme.per_channel_ops
        if node.name not in integer or node.op_type not in _BIASED or len(node.input) < 3 or channels:
            continue
        tensor = ranges.get(node.input[0])
        weight, bias = index.constant(node.input[1]), index.constant(node.input[2])
        if tensor is None or weight is None or bias is None:
            continue
        given = Affine.of_range(tensor.low, tensor.high, tensor.dtype, symmetric=scheme.symmetric_activation)
        reduced = integer[node.name].reduce_range
        found = Affine.of_values(weight, "int8", axis=None, symmetric=True, reduced=reduced)
        if float(found.with_room_for(bias, given).scale) > _MOST * float(found.scale):
            yield node.name
