"""The whole stage on a small convolutional net and a small encoder."""

import json
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from edgeopt.errors import DataError, ModelError, RecipeError
from edgeopt.quantize import QuantizeConfig, quantize
from edgeopt.targets.target import load_target
from tests.quantize.conftest import fill


def run(path, batch):
    return ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, dict(batch))[0]


@pytest.mark.parametrize("target", ["x86-vnni", "x86-avx2", "arm64"])
def test_a_convolutional_net_runs_on_integers_throughout(conv_model, images, saved, tmp_path, target):
    path, output = saved(conv_model), tmp_path / "int8.onnx"
    result = quantize(path, images, target=load_target(target), output=output)
    onnx.checker.check_model(output, full_check=True)
    assert result.facts.coverage.int8_macs_share == 1.0
    assert result.facts.samples == 8
    assert result.facts.size_bytes_after == output.stat().st_size
    expected, got = run(path, images[0]), run(output, images[0])
    assert 0 < np.square(expected - got).sum() / np.square(expected).sum() < 0.01
    assert json.loads(json.dumps(asdict(result.facts), allow_nan=False))["target"] == target


def test_an_encoder_keeps_its_residual_stream_in_floating_point(text_model, sentences, saved, tmp_path, vnni):
    path, output = saved(text_model), tmp_path / "int8.onnx"
    result = quantize(path, sentences, target=vnni, output=output)
    assert result.facts.coverage.int8_macs_share == 1.0
    graph = onnx.load(output).graph
    norm = next(node.output[0] for node in graph.node if node.op_type == "LayerNormalization")
    readers = {node.op_type for node in graph.node if norm in node.input}
    assert "Sum" in readers
    assert readers <= {"QuantizeLinear", "Mul", "Sum"}
    expected, got = run(path, sentences[1]), run(output, sentences[1])
    assert 0 < np.square(expected - got).sum() / np.square(expected).sum() < 0.01


def test_time_that_is_summed_up_is_calibrated_whole(saved, tmp_path, vnni):
    text = """
    <ir_version: 8, opset_import: ["" : 17]>
    walk (float[t, 16] x, float[1, 32] s) => (float[1, 4] y) <int64[1] ax = {0}> {
        h = MatMul (x, w)
        r = Relu (h)
        a = ReduceSum <keepdims = 1> (r, ax)
        b = Add (a, s)
        y = Gemm (b, w2, b2)
    }
    """
    path = saved(fill(onnx.parser.parse_model(text), w=(16, 32), w2=(32, 4), b2=(4,)))
    generator = np.random.default_rng(5)
    batches = [{"x": generator.standard_normal((50, 16), np.float32), "s": np.ones((1, 32), np.float32)} for _ in range(16)]
    result = quantize(path, batches, target=vnni, output=tmp_path / "int8.onnx")
    assert result.facts.samples == 16
    pairs = [(run(path, batch), run(result.path, batch)) for batch in batches]
    expected, got = (np.concatenate(part) for part in zip(*pairs, strict=True))
    assert np.square(expected - got).sum() / np.square(expected).sum() < 1e-3


def test_two_runs_give_the_same_bytes(conv_model, images, saved, tmp_path, vnni):
    path = saved(conv_model)
    files = [quantize(path, images, target=vnni, output=tmp_path / f"{run}.onnx") for run in "ab"]
    assert files[0].path.read_bytes() == files[1].path.read_bytes()
    assert files[0].plan_path.read_bytes() == files[1].plan_path.read_bytes()


def test_a_quantized_model_is_refused(conv_model, images, saved, tmp_path, vnni):
    once = quantize(saved(conv_model), images, target=vnni, output=tmp_path / "once.onnx")
    with pytest.raises(ModelError, match="already quantized"):
        quantize(once.path, images, target=vnni, output=tmp_path / "twice.onnx")
    assert not (tmp_path / "twice.onnx").exists()


def test_the_model_itself_is_no_output(conv_model, images, saved, vnni):
    path = saved(conv_model)
    before = path.read_bytes()
    with pytest.raises(RecipeError, match="the output is the floating-point model itself"):
        quantize(path, images, target=vnni, output=path.parent / ".." / path.parent.name / path.name)
    assert path.read_bytes() == before


def test_a_custom_operator_is_named(images, saved, tmp_path, vnni):
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21, "strange.domain" : 1]> '
        "g (float[n, 3, 16, 16] x) => (float[n, 3, 16, 16] y) { y = strange.domain.Twist (x) }"
    )
    with pytest.raises(ModelError, match="Twist") as caught:
        quantize(saved(model), images, target=vnni, output=tmp_path / "out.onnx")
    assert "\n" not in str(caught.value)


def test_bad_samples_leave_nothing_behind(conv_model, images, saved, tmp_path, vnni):
    images[2]["x"][1, 0, 0, 0] = np.nan
    with pytest.raises(DataError, match="sample 6, input 'x'"):
        quantize(saved(conv_model), images, target=vnni, output=tmp_path / "out.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_an_excluded_node_stays_floating_and_a_wrong_name_is_refused(conv_model, images, saved, tmp_path, vnni):
    path = saved(conv_model)
    model = onnx.load(path)
    for number, node in enumerate(model.graph.node):
        node.name = f"n{number}_{node.op_type}"
    onnx.save_model(model, path)
    config = QuantizeConfig(exclude=["n2_Conv"])
    result = quantize(path, images, target=vnni, output=tmp_path / "out.onnx", config=config)
    assert "n2_Conv" in [island.node for island in result.facts.coverage.islands]
    assert 0 < result.facts.coverage.int8_macs_share < 1
    with pytest.raises(RecipeError, match="did you mean 'n2_Conv'"):
        quantize(path, images, target=vnni, output=tmp_path / "no.onnx", config=QuantizeConfig(exclude=["n2_Con"]))


OLD = """
<ir_version: 3, opset_import: ["" : 9]>
old (float[1, 3, 8, 8] x, float[4, 3, 3, 3] w, float[4] s, float[4] b, float[4] m, float[4] v) => (float[1, 4, 6, 6] y) {
    c = Conv <kernel_shape = [3, 3]> (x, w)
    n = BatchNormalization (c, s, b, m, v)
    y = Relu (n)
}
"""


def test_an_old_model_with_initializers_among_its_inputs(saved, tmp_path, vnni):
    model = onnx.parser.parse_model(OLD)
    generator = np.random.default_rng(0)
    for name, shape in {"w": (4, 3, 3, 3), "s": (4,), "b": (4,), "m": (4,), "v": (4,)}.items():
        values = generator.uniform(0.5, 1.5, shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    path = saved(model)
    batch = {"x": generator.standard_normal((2, 3, 8, 8), dtype=np.float32)}
    result = quantize(path, [batch], target=vnni, output=tmp_path / "int8.onnx")
    assert {decision.what for decision in result.facts.decisions} >= {"inputs", "opset"}
    assert result.facts.samples == 2
    assert result.facts.coverage.int8_macs_share == 1.0
    one = {"x": batch["x"][:1]}
    np.testing.assert_allclose(run(result.path, one), run(path, one), atol=0.3)


def test_nothing_to_quantize_is_said(saved, tmp_path, vnni):
    model = onnx.parser.parse_model('<ir_version: 10, opset_import: ["" : 21]> g (float[n] x) => (float[n] y) { y = Tanh (x) }')
    batch = {"x": np.ones(3, dtype=np.float32)}
    result = quantize(saved(model), [batch], target=vnni, output=tmp_path / "out.onnx")
    assert any("no node can run on integers" in warning for warning in result.facts.warnings)
    np.testing.assert_array_equal(run(result.path, batch), np.tanh(batch["x"]))


def test_torch_is_not_needed(conv_model, images, saved, tmp_path):
    model, samples = saved(conv_model), tmp_path / "samples.npz"
    np.savez(samples, **{name: np.concatenate([batch[name] for batch in images]) for name in images[0]})
    arguments = ["quantize", str(model), "--calibration", str(samples), "-o", str(tmp_path / "made.onnx")]
    code = f"import sys; from edgeopt.cli import app; app({arguments!r}, standalone_mode=False); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
