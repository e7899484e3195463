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

import onnx_ir as ir

from edgeopt.graph.matching import attribute, constant, is_depthwise, is_standard, name_of, sole_consumer

_COLOURS = 4
ACTIVATIONS = {"Clip", "HardSwish", "LeakyRelu", "Relu"}


def picture_stem(graph: ir.Graph) -> tuple[str, ...]:
    """Return the names of the convolutions of the stem, first to last; none if the graph has none."""
    for node in graph:
        if is_standard(node, "Conv") and node.inputs[0] is not None and node.inputs[0].is_graph_input() and _of_colours(node):
            names = _chain(node)
            return tuple(names) if len(names) > 1 else ()
    return ()


def _chain(first: ir.Node) -> list[str]:
    names, node = [name_of(first)], first
    while (behind := _next(node)) is not None:
        shape = _shape(behind)
        narrows = len(names) > 1 and len(shape) == 4 and shape[2:] == (1, 1) and shape[0] < shape[1]
        if not (narrows or is_depthwise(behind)):
            break
        names.append(name_of(behind))
        if narrows:
            break
        node = behind
    return names


def _next(node: ir.Node) -> ir.Node | None:
    """Return the convolution that alone reads what `node` gives, directly or through an activation function."""
    reader = sole_consumer(node.outputs[0])
    if reader is not None and reader.op_type in ACTIVATIONS:
        reader = sole_consumer(reader.outputs[0])
    return reader if reader is not None and is_standard(reader, "Conv") else None


def _of_colours(node: ir.Node) -> bool:
    shape = _shape(node)
    return len(shape) == 4 and shape[1] <= _COLOURS and attribute(node, "group", 1) == 1


def _shape(node: ir.Node) -> tuple[int, ...]:
    tensor = constant(node.inputs[1])
    return tuple(tensor.shape.numpy()) if tensor is not None else ()
