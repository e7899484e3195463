from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir

from edgeopt.passes.conv_types import ConvTypes

GRAPH = """
<ir_version: 10, opset_import: ["" : 24]>
g (bfloat16[n,1,4,4] x) => (bfloat16[n,2,2,2] y) { y = Conv(x, w, b) }"""


def test_folded_float32_weights_get_the_type_of_the_input():
    model = onnx.parser.parse_model(GRAPH)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.full((2, 1, 3, 3), 1 / 3, np.float32), "w"))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(2, np.float32), "b"))
    graph = ir.from_proto(model)
    assert ConvTypes()(graph).modified and not ConvTypes()(graph).modified
    weight = graph.graph.initializers["w"]
    assert weight.dtype == weight.const_value.dtype == ir.DataType.BFLOAT16
    assert weight.const_value.numpy().dtype == ml_dtypes.bfloat16
    onnx.shape_inference.infer_shapes(ir.to_proto(graph), check_type=True, strict_mode=True)


def test_weights_that_have_the_type_already_stay(golden):
    text = "g (float[n,1,4,4] x) => (float[n,2,2,2] y) { y = Conv(x, w, b) }"
    golden(ConvTypes(), text, text, {"x": np.ones((1, 1, 4, 4), np.float32)}, w=(2, 1, 3, 3), b=(2,))
