from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest

from edgeopt.graph.files import from_proto
from edgeopt.graph.opsets import inline_functions, upgrade

OLD_RESIZES = {
    "Resize 10": (10, 'y = Resize <mode = "{mode}"> (x, scales)'),
    "Upsample 9": (9, 'y = Upsample <mode = "{mode}"> (x, scales)'),
    "Upsample 7": (7, 'y = Upsample <mode = "{mode}", scales = [1.0, 1.0, 1.5, 2.5]> (x)'),
}
X = {"x": np.random.default_rng(0).normal(size=(1, 2, 4, 5)).astype(np.float32)}


def run(model):
    return ort.InferenceSession(model.SerializeToString()).run(None, X)[0]


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("name", OLD_RESIZES)
def test_old_resizes_sample_where_they_did(name, mode):
    version, node = OLD_RESIZES[name]
    text = f'<ir_version: 3, opset_import: ["" : {version}]> g (float[1,2,4,5] x) => (float y) {{ {node.format(mode=mode)} }}'
    model = onnx.parser.parse_model(text)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    if version > 8:
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1, 1, 1.5, 2.5], np.float32), "scales"))
    converted = ir.to_proto(upgrade(from_proto(model), 13))
    assert converted.opset_import[0].version == 13 and converted.ir_version >= 4
    np.testing.assert_allclose(run(converted), run(model), rtol=1e-6)


def test_functions_are_inlined_with_the_functions_they_call():
    text = """<ir_version: 8, opset_import: ["" : 12, "my" : 1]>
    g (float[1,2,4,5] x) => (float[1,2,4,5] y) { y = my.Twice(x) }
    <domain: "my", opset_import: ["" : 12, "my" : 1]> Twice (a) => (b) { c = my.Once(a)  b = my.Once(c) }
    <domain: "my", opset_import: ["" : 12]> Once (a) => (b) { one = Constant <value = float {1.5}> ()  b = Mul(a, one) }"""
    model = from_proto(onnx.parser.parse_model(text))
    assert inline_functions(model) == 2
    converted = ir.to_proto(upgrade(model, 13))
    assert [entry.domain for entry in converted.opset_import] == [""] and not converted.functions
    np.testing.assert_allclose(run(converted), X["x"] * 2.25, rtol=1e-6)


@pytest.mark.parametrize("scales", [[1, 1, 0.5, 0.4], [1, 1, 0.7, 2.5], [1, 1, 1, 0.3], [1, 1, 2, 1]])
@pytest.mark.parametrize("given", ["constant", "input"])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_old_resizes_that_shrink_take_the_neighbours_they_took(mode, given, scales):
    text = f'''<ir_version: 5, opset_import: ["" : 10]> g (float[1,2,4,5] x, float[4] s) => (float[1,2,h,w] y) {{
        r = Resize <mode = "{mode}"> (x, s)  y = Relu (r) }}'''
    model, values = onnx.parser.parse_model(text), np.array(scales, np.float32)
    if given == "constant":
        del model.graph.input[1]
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, "s"))
    inputs = X if given == "constant" else X | {"s": values}
    converted = ir.to_proto(upgrade(from_proto(model), 13))
    before, after = (ort.InferenceSession(item.SerializeToString()).run(None, inputs)[0] for item in (model, converted))
    np.testing.assert_allclose(after, before, rtol=1e-5)
