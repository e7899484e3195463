"""Input channels of convolutions in multiples of what the target's int8 kernels take at once: four on x86.

    Before: Conv(DequantizeLinear(QuantizeLinear(x [n, 3, h, w])), W [m, 3, k, k])
    After:  Conv(DequantizeLinear(Pad(QuantizeLinear(x) → [n, 4, h, w])), W [m, 4, k, k]), the new weights 0

VNNI multiplies four neighbouring bytes at a time. onnxruntime's convolution that reads its input in place (MlasConvSym) wants
input channels in fours; others are first copied window by window (im2col). The new weights are 0, so results are the same to
the bit. On the first convolution of MobileNetV2 (224 × 224 × 3): 386 → 194 µs, for 11 µs of padding. Tiny nets with fewer than
16 output channels become slower by it (docs/log/quantize.md), so that these are left as they are.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeopt.graph.editing import add_initializer, insert_before, new_node, replace_constant
from edgeopt.graph.matching import (
    array,
    attribute,
    constant,
    dequantized_bytes,
    int64,
    is_standard,
    name_of,
    produced_by,
    sole_consumer,
)
from edgeopt.passes.rewrite import Rewrite

_FEWEST_OUTPUTS = 16  # channels that the kernel writes at once


class InputChannels(Rewrite):
    """Pad the integer inputs of ungrouped convolutions, where they have no other consumer, to a multiple, and count them."""

    def __init__(self, multiple: int) -> None:
        """Pad to multiples of `multiple` channels; 1 leaves all as they are."""
        self._multiple = multiple

    def rewrite(self, model: ir.Model) -> int:
        """Pad every such input and the weight that meets it."""
        return sum(_rewrite(model.graph, node, self._multiple) for node in list(model.graph) if is_standard(node, "Conv"))


def _rewrite(graph: ir.Graph, node: ir.Node, multiple: int) -> bool:
    pair = _integer_inputs(node)
    if pair is None:
        return False
    dequantize, weight = pair
    values = array(weight)
    missing = -values.shape[1] % multiple if values is not None else 0
    source = dequantize.inputs[0]
    if values is None or source is None or not missing or values.shape[0] < _FEWEST_OUTPUTS:
        return False
    replace_constant(weight, np.pad(values, [(0, 0), (0, missing), (0, 0), (0, 0)]))
    amounts = add_initializer(graph, f"{source.name}_channels", int64(0, 0, 0, 0, 0, missing, 0, 0))
    pad = new_node(node, "Pad", [source, amounts, dequantize.inputs[2]])
    pad.outputs[0].type = source.type
    dequantize.replace_input_with(0, insert_before(graph, dequantize, pad, f"{source.name}_padded"))
    pad.name = f"{name_of(source)}_pad"
    for widened in node.inputs[:2]:
        if widened is not None:
            widened.shape = None
    return True


def _integer_inputs(node: ir.Node) -> tuple[ir.Node, ir.Value] | None:
    """Return the DequantizeLinear before a convolution of images and its integer weight, if both are its own."""
    dequantize = dequantized_bytes(node.inputs[0])  # onnxruntime's Pad has no kernel for 16-bit integers
    of_weight = produced_by(node.inputs[1], "DequantizeLinear")
    if attribute(node, "group", 1) != 1 or dequantize is None or of_weight is None:
        return None
    weight = of_weight.inputs[0]
    tensor = constant(weight)
    if weight is None or tensor is None or len(tensor.shape) != 4 or sole_consumer(dequantize.outputs[0]) is not node:
        return None
    shared = len(weight.uses()) > 1 or len(of_weight.outputs[0].uses()) > 1
    return None if shared or produced_by(dequantize.inputs[0], "QuantizeLinear") is None else (dequantize, weight)
