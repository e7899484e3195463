"""Inner tensors as outputs, and parts of models."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest

from edgeopt.errors import DataError
from edgeopt.graph.files import as_ir, serialized
from edgeopt.graph.outputs import KeptInputs, cut, expose, open_exposed, run, same_outputs

NET = """
<ir_version: 10, opset_import: ["" : 21]>
net (float[n, 4] x, float[n, 4] z) => (float[n, 4] y) <float[4, 4] w = {1,0,0,0, 0,2,0,0, 0,0,3,0, 0,0,0,4}> {
    a = MatMul (x, w)
    r = Relu (a)
    b = Add (r, z)
    y = Neg (b)
}
"""
BATCH = {"x": np.arange(8, dtype=np.float32).reshape(2, 4) - 4, "z": np.ones((2, 4), np.float32)}


@pytest.fixture
def model() -> ir.Model:
    return onnx_model(NET)


def onnx_model(text: str) -> ir.Model:
    return as_ir(onnx.shape_inference.infer_shapes(onnx.parser.parse_model(text)))


def session(model: ir.Model) -> ort.InferenceSession:
    return ort.InferenceSession(serialized(model), providers=["CPUExecutionProvider"])


def test_inner_tensors_follow_the_outputs(model):
    shown = expose(model, ["r", "y", "a", "r"])
    assert [value.name for value in shown.graph.outputs] == ["y", "r", "a"]
    assert [value.name for value in model.graph.outputs] == ["y"]
    y, r, a = session(shown).run(None, BATCH)
    np.testing.assert_array_equal(r, np.maximum(a, 0))
    np.testing.assert_array_equal(y, -(r + 1))


def test_a_session_with_more_outputs_leaves_the_model_as_it_was(model):
    opened = open_exposed(model, ["a"], threads=1)
    np.testing.assert_array_equal(run(opened, ["a"], BATCH, sample=0)["a"], BATCH["x"] * [1, 2, 3, 4])
    assert [value.name for value in model.graph.outputs] == ["y"]


def test_a_part_computes_the_tensor_and_keeps_the_shapes_that_are_known(model):
    part = cut(model, "r")
    assert [node.op_type for node in part.graph] == ["MatMul", "Relu"]
    assert set(part.graph.initializers) == {"w"} and len(model.graph) == 4
    assert part.graph[0].outputs[0].shape == ["n", 4]
    np.testing.assert_array_equal(session(part).run(None, BATCH)[0], np.maximum(BATCH["x"] * [1, 2, 3, 4], 0))


def test_a_model_equals_itself_and_no_other(model):
    assert same_outputs(model, as_ir(ir.to_proto(model)), BATCH)
    other = as_ir(ir.to_proto(model))
    other.graph[-1].op_type = "Abs"
    assert not same_outputs(model, other, BATCH)


@pytest.mark.parametrize(("flips", "same"), [(0, True), (2, True), (3, False)])
def test_a_class_in_a_thousand_may_change_where_two_logits_are_nearly_equal(flips, same):
    """As on the map of a segmentation, of which another order of sums moves the edges."""
    text = """<ir_version: 10, opset_import: ["" : 21]>
        net (float[n, 2] x) => (int64[n] label) <float[2] shift = {SHIFT}> {
            y = Add (x, shift)
            label = ArgMax <axis = 1, keepdims = 0> (y)
        }"""
    logits = np.tile(np.array([1, 0], np.float32), (2048, 1))
    logits[:flips, 1] = 1 - 1e-6
    models = [onnx_model(text.replace("SHIFT", shift)) for shift in ("0, 0", "0, 2e-6")]
    assert same_outputs(*models, {"x": logits}) is same


def test_kept_inputs_are_written_over_and_results_are_not():
    text = NET.replace("float[n, 4] z", "float z")
    kept = KeptInputs(session(onnx_model(text)), ["y"], {"z": np.array(1.0, np.float32)})
    x = BATCH["x"]
    first = kept.run({"x": x}, {}, sample=0)["y"]
    scaled = np.maximum(x * [1, 2, 3, 4], 0)
    np.testing.assert_array_equal(first, -(scaled + 1))
    longer = kept.run({"x": np.concatenate([x, x])}, {"z": 5.0}, sample=1)["y"]  # another shape, and another value
    np.testing.assert_array_equal(longer, np.concatenate([-(scaled + 5)] * 2))
    np.testing.assert_array_equal(first, -(scaled + 1))
    with pytest.raises(DataError, match="calibration sample 7: the model cannot run on it"):
        kept.run({"x": x[:, :3]}, {}, sample=7)
