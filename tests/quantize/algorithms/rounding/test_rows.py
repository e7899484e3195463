"""A layer as rows times a matrix, against the layer itself."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest

from edgeopt.quantize.algorithms.rounding.rows import as_weight, paired_rows, weight_rows

CASES = [
    ("Conv", (6, 4, 3, 3), (2, 4, 9, 8), {"pads": [1, 0, 2, 1], "strides": [2, 1]}),
    ("Conv", (6, 2, 3, 3), (2, 4, 9, 8), {"group": 2, "dilations": [2, 1]}),
    ("Conv", (4, 1, 3, 3), (1, 4, 7, 7), {"group": 4, "auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ("Conv", (4, 1, 3, 3), (1, 4, 8, 8), {"group": 4, "auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    ("Conv", (5, 3, 4), (2, 3, 11), {"pads": [1, 2]}),
    ("MatMul", (5, 7), (2, 3, 5), {}),
    ("Gemm", (7, 5), (4, 5), {"transB": 1}),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{'x'.join(map(str, case[1]))}")
def test_rows_times_the_matrix_are_the_layers_outputs(case):
    kind, shape, given, attributes = case
    generator = np.random.default_rng(0)
    weight, x = (generator.standard_normal(size).astype(np.float32) for size in (shape, given))
    node = onnx.helper.make_node(kind, ["x", "w"], ["y"], **attributes)
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in "xy"]
    graph = onnx.helper.make_graph([node], "g", ends[:1], ends[1:], [onnx.numpy_helper.from_array(weight, "w")])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10)
    y = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    layer = ir.from_proto(node)
    for limit in (7, 10_000):
        rows, wanted = paired_rows(layer, (x, y), shape[2:], limit=limit, generator=np.random.default_rng(1))
        assert rows.shape[1] <= limit
        np.testing.assert_allclose(rows @ weight_rows(layer, weight).swapaxes(1, 2), wanted, atol=2e-5)
    np.testing.assert_array_equal(as_weight(layer, weight_rows(layer, weight), shape), weight)
