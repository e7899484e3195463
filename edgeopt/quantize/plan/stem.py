"""The first layers of a network on pictures, where integers gain little time and cost the most accuracy.

    picture [n, ≤ 4, h, w] → Conv → [Relu or Clip] → Conv (depthwise) → [Relu or Clip] → Conv (1 × 1, fewer channels) → …
                             └───────────── stays in floating point ─────────────────────────────────────────────────┘

A convolution of three colours leaves one in four of the bytes empty that VNNI multiplies at once, and a depthwise one at full
size is limited by reading; and all that follows inherits what they round. In MobileNetV2 rounding the picture and the results
of these layers makes 40 % of the noise of the logits and saves 2 % of the time; other networks with such a stem are even
faster with a floating one (docs/log/quantize.md).

The stem is the first convolution, the depthwise ones behind it and the 1 × 1 convolution that narrows what they give, as long
as each alone reads what the one before gives. Without a depthwise convolution there is none: a first convolution alone, or
with pooling behind it as in ResNet, is faster on integers by 3 to 8 %.
"""

from __future__ import annotations

import onnx

from edgeopt.graph.index import GraphIndex, attribute, is_depthwise

_COLOURS = 4
ACTIVATIONS = {"Clip", "HardSwish", "LeakyRelu", "Relu"}


def picture_stem(index: GraphIndex) -> tuple[str, ...]:
    """Return the names of the convolutions of the stem, first to last; none if the graph has none."""
    for node in index.graph.node:
        if node.op_type == "Conv" and node.input[0] in index.inputs and _of_colours(node, index):
            names = _chain(node, index)
            return tuple(names) if len(names) > 1 else ()
    return ()


def _chain(first: onnx.NodeProto, index: GraphIndex) -> list[str]:
    names, node = [first.name], first
    while (behind := _next(node, index)) is not None:
        shape = _shape(behind, index)
        narrows = len(names) > 1 and len(shape) == 4 and shape[2:] == [1, 1] and shape[0] < shape[1]
        if not (narrows or is_depthwise(behind, index)):
            break
        names.append(behind.name)
        if narrows:
            break
        node = behind
    return names


def _next(node: onnx.NodeProto, index: GraphIndex) -> onnx.NodeProto | None:
    """Return the convolution that alone reads what `node` gives, directly or through an activation function."""
    reader = index.sole_consumer(node.output[0])
    if reader is not None and reader.op_type in ACTIVATIONS:
        reader = index.sole_consumer(reader.output[0])
    return reader if reader is not None and reader.op_type == "Conv" else None


def _of_colours(node: onnx.NodeProto, index: GraphIndex) -> bool:
    shape = _shape(node, index)
    return len(shape) == 4 and shape[1] <= _COLOURS and attribute(node, "group", 1) == 1


def _shape(node: onnx.NodeProto, index: GraphIndex) -> list[int]:
    weight = index.initializers.get(node.input[1])
    return list(weight.dims) if weight is not None else []
