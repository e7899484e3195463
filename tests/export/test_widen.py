from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgeopt.errors import ModelError
from edgeopt.export.widen import feed, holds_bfloat16, open_runnable, runnable, widened

NARROW = """
<ir_version: 10, opset_import: ["" : {opset}]>
g (bfloat16[n,2] x) => (bfloat16[n,2] y) {{
    y0 = MatMul(x, w)
    wide = Cast<to = 1>(y0)
    back = Cast<to = 16>(wide)
    y = {last}
}}"""


def narrow(last="Relu(back)", opset=24):
    model = onnx.parser.parse_model(NARROW.format(last=last, opset=opset))
    weight = np.array([[1, 2], [3, 4.0625]], dtype=ml_dtypes.bfloat16)
    model.graph.initializer.append(onnx.helper.make_tensor("w", 16, (2, 2), weight.tobytes(), raw=True))
    return ir.from_proto(onnx.shape_inference.infer_shapes(model))


def test_a_widened_copy_computes_the_same_in_float32_and_the_original_stays(tmp_path):
    model = narrow()
    assert holds_bfloat16(model) and not holds_bfloat16(widened(model))
    path = tmp_path / "model.onnx"
    ir.save(model, path)
    assert runnable(model, [path], tmp_path) == [tmp_path / "widened.onnx", tmp_path / "widened.onnx.data"]
    session = open_runnable(path)
    x = np.array([[1, -2], [0.5, 3]], dtype=ml_dtypes.bfloat16)
    (found,) = session.run(None, feed(session, {"x": x, "other": x}))
    expected = np.maximum(x.astype(np.float32) @ np.array([[1, 2], [3, 4.0625]], np.float32), 0)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)
    assert holds_bfloat16(model)


def test_an_operator_that_takes_no_bfloat16_in_this_opset_is_an_error(tmp_path):
    model = narrow(last="Round(back)", opset=20)
    ir.save(model, tmp_path / "model.onnx")
    with pytest.raises(ModelError, match=r"not valid ONNX: .*Round.*choose a later opset, or float16"):
        runnable(model, [tmp_path / "model.onnx"], tmp_path)


def test_a_graph_without_bfloat16_is_run_as_it_is(tmp_path):
    model = widened(narrow())
    assert runnable(model, [tmp_path / "model.onnx"], tmp_path) == [tmp_path / "model.onnx"]
