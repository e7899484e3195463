"""Adaptive rounding through the stage: less noise at the outputs, the same file twice, integers where they were."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from edgeopt.quantize import QuantizeConfig, quantize
from edgeopt.targets.target import load_target


@pytest.mark.parametrize("target", ["x86-vnni", "x86-avx2"])
def test_a_convolutional_net_loses_less(conv_model, saved, tmp_path, target):
    generator = np.random.default_rng(5)
    images = [{"x": generator.standard_normal((4, 3, 16, 16), dtype=np.float32)} for _ in range(8)]
    path, models = saved(conv_model), {}
    for rounding in ("nearest", "adaptive"):
        config = QuantizeConfig(rounding=rounding)
        result = quantize(path, images, target=load_target(target), output=tmp_path / f"{rounding}.onnx", config=config)
        models[rounding] = onnx.load(result.path)
        onnx.checker.check_model(result.path, full_check=True)
        assert result.facts.coverage.int8_macs_share == 1.0
    assert any(decision.what == "rounding" for decision in result.facts.decisions)
    kinds = [[node.op_type for node in model.graph.node] for model in models.values()]
    assert kinds[0] == kinds[1]
    error = {}
    for name, model in models.items():
        sessions = [
            ort.InferenceSession(item, providers=["CPUExecutionProvider"]) for item in (path, model.SerializeToString())
        ]
        pairs = [[session.run(None, batch)[0] for session in sessions] for batch in images]
        error[name] = sum(float(np.square(a - b).sum()) for a, b in pairs)
    assert error["adaptive"] < error["nearest"], error


def test_an_encoder_twice_gives_the_same_bytes(text_model, sentences, saved, tmp_path, vnni):
    path, config = saved(text_model), QuantizeConfig(rounding="adaptive", rounding_samples=3)
    files = [quantize(path, sentences, target=vnni, output=tmp_path / f"{run}.onnx", config=config).path for run in "ab"]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("beta", ["", "<beta = 2.0>"])
def test_a_bias_in_floating_point_is_not_made_up_for_by_weights(saved, tmp_path, beta):
    """Every output is 40 and a little: rounding that fitted the 40 with the weights would lose the little."""
    generator = np.random.default_rng(6)
    model = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["" : 21]> g (float[n, 16] x) => (float[n, 8] y) {{ y = Gemm {beta} (x, w, b) }}'
    )
    for name, values in {"w": generator.standard_normal((16, 8)), "b": np.full(8, 40.0)}.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(values.astype(np.float32), name))
    batches = [{"x": generator.uniform(0, 0.2, (64, 16)).astype(np.float32)} for _ in range(8)]
    found = {}
    for rounding in ("nearest", "adaptive"):
        config = QuantizeConfig(rounding=rounding, correct_bias=False)
        path = tmp_path / f"{rounding}.onnx"
        found[rounding] = quantize(saved(model), batches, target=load_target("tensorrt"), output=path, config=config).facts
    assert found["adaptive"].outputs_db > found["nearest"].outputs_db - 0.5
