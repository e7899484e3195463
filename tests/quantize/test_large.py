"""Models beyond protobuf's limit, with the limit lowered: external data all the way, the same results as without.

(A real one of 2.2 GB: ``python -m benchmarks.quantize.large``.)
"""

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from edgeopt.graph import files
from edgeopt.quantize import QuantizeConfig, quantize


def large() -> onnx.ModelProto:
    generator = np.random.default_rng(0)
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> large (float[n, 64] x) => (float[n, 64] y) '
        "{ a = MatMul (x, w1) r = Relu (a) b = MatMul (r, w2) y = Tanh (b) }"
    )
    for name in ("w1", "w2"):
        values = (generator.standard_normal((64, 64)) / 8).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    return model


@pytest.mark.parametrize("scheme", ["static", "dynamic", "float16", "weights-int4"])
def test_beyond_the_limit_weights_travel_beside_the_model(scheme, tmp_path, vnni, monkeypatch):
    batches = [{"x": np.random.default_rng(1).standard_normal((4, 64)).astype(np.float32)} for _ in range(3)]
    config = QuantizeConfig(scheme=scheme)
    small = files.save(files.as_ir(large()), tmp_path / "small.onnx")[0]
    expected = quantize(small, batches, target=vnni, output=tmp_path / "expected.onnx", config=config)
    monkeypatch.setattr(files, "MOST_IN_MESSAGE", 2000)  # two matrices of 4,096 weights exceed it
    model = files.save(files.as_ir(large()), tmp_path / "large.onnx")
    assert [path.name for path in model] == ["large.onnx", "large.onnx.data"]
    result = quantize(model[0], batches, target=vnni, output=tmp_path / "made.onnx", config=config)
    assert (tmp_path / "made.onnx.data").is_file()
    onnx.checker.check_model(result.path)
    a, b = (
        ort.InferenceSession(made.path, providers=["CPUExecutionProvider"]).run(None, batches[0])[0]
        for made in (expected, result)
    )
    np.testing.assert_allclose(a, b, atol=1e-5)
    assert result.facts.size_bytes_after < result.facts.size_bytes_before
