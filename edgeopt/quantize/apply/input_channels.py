"""Input channels of convolutions in multiples of what the target's int8 kernels take at once: four on x86.

Before: x → QuantizeLinear → [n, 3, h, w] → DequantizeLinear → Conv (W [m, 3, k, k])
After:  x → QuantizeLinear → Pad → [n, 4, h, w] → DequantizeLinear → Conv (W [m, 4, k, k], the new weights 0)

VNNI multiplies four neighbouring bytes at a time. onnxruntime's convolution that reads its input in place (MlasConvSym) wants
input channels in fours; others are first copied window by window (im2col). The new weights are 0, so results are the same to
the bit. On the first convolution of MobileNetV2 (224 × 224 × 3): 386 → 194 µs, for 11 µs of padding (docs/log/quantize.md).
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgeopt.graph.index import GraphIndex, attribute


def pad_input_channels(model: onnx.ModelProto, multiple: int) -> int:
    """Pad integer inputs of ungrouped convolutions, where nobody else reads them, to `multiple` channels; return how many."""
    graph = model.graph
    index = GraphIndex(graph)
    pads: dict[str, onnx.NodeProto] = {}
    for node in graph.node:
        pair = _integer_inputs(node, index)
        if pair is None:
            continue
        dequantize, weight = pair
        values = numpy_helper.to_array(weight)
        missing = -values.shape[1] % multiple
        if not missing:
            continue
        wider = np.pad(values, [(0, 0), (0, missing), (0, 0), (0, 0)])
        weight.CopyFrom(numpy_helper.from_array(wider, weight.name))
        source = dequantize.input[0]
        amounts, padded = f"{source}_channels", f"{source}_padded"
        graph.initializer.append(numpy_helper.from_array(np.array([0, 0, 0, 0, 0, missing, 0, 0], dtype=np.int64), amounts))
        inputs = [source, amounts, dequantize.input[2]]
        pads[dequantize.output[0]] = helper.make_node("Pad", inputs, [padded], f"{source}_pad")
        dequantize.input[0] = padded
        for name in (dequantize.output[0], node.input[1]):
            _forget_shape(graph, name)
    nodes = [item for node in graph.node for item in ([pads[node.output[0]], node] if node.output[0] in pads else [node])]
    del graph.node[:]
    graph.node.extend(nodes)
    return len(pads)


def _integer_inputs(node: onnx.NodeProto, index: GraphIndex) -> tuple[onnx.NodeProto, onnx.TensorProto] | None:
    """Return the DequantizeLinear before a convolution of pictures and its integer weight, if both are its own."""
    if node.op_type != "Conv" or attribute(node, "group", 1) != 1:
        return None
    dequantize = index.bytes_behind(node.input[0])  # onnxruntime's Pad has no kernel for 16-bit integers
    of_weight = index.producer.get(node.input[1])
    if dequantize is None or of_weight is None or of_weight.op_type != "DequantizeLinear":
        return None
    weight = index.initializers.get(of_weight.input[0])
    if weight is None or len(weight.dims) != 4 or not index.feeds_only(dequantize.output[0], node):
        return None
    shared = len(index.consumers[of_weight.input[0]]) > 1 or len(index.consumers[of_weight.output[0]]) > 1
    quantize = index.producer.get(dequantize.input[0])
    if shared or quantize is None or quantize.op_type != "QuantizeLinear":
        return None
    return dequantize, weight


def _forget_shape(graph: onnx.GraphProto, name: str) -> None:
    kept = [value for value in graph.value_info if value.name != name]
    del graph.value_info[:]
    graph.value_info.extend(kept)
