"""Coverage is what the provider ran, by scheme and target, or it is said not to be known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from edgeopt.quantize import QuantizeConfig, quantize
from edgeopt.targets.target import load_target

_NET = """
<ir_version: 8, opset_import: ["": 17]>
net (float[N, 64] x) => (float[N, 16] y) {
  [first] a = MatMul (x, w1) [act] b = Relu (a) [second] y = MatMul (b, w2)
}
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    made = onnx.parser.parse_model(_NET)
    rng = np.random.default_rng(0)
    for name, shape in {"w1": (64, 128), "w2": (128, 16)}.items():
        made.graph.initializer.append(onnx.numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name))
    onnx.save(made, tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


_SAMPLES = [{"x": np.random.default_rng(number).normal(size=(1, 64)).astype(np.float32)} for number in range(4)]


@pytest.mark.parametrize(
    ("config", "share"),
    [
        ({"scheme": "static"}, 1.0),
        ({"scheme": "dynamic"}, 1.0),
        ({"scheme": "dynamic", "exclude": ["first"]}, 128 * 16 / (64 * 128 + 128 * 16)),
        ({"scheme": "weights-int8", "weights": {"accuracy_level": 4}}, 64 * 128 / (64 * 128 + 128 * 16)),  # one is too small
        ({"scheme": "weights-int8", "weights": {"accuracy_level": 1}}, 0.0),
        ({"scheme": "weights-int4", "weights": {"accuracy_level": 4}}, 64 * 128 / (64 * 128 + 128 * 16)),
        ({"scheme": "float16"}, 0.0),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else None,
)
def test_the_share_is_of_what_ran_on_integers(config: dict[str, object], share: float, model: Path, tmp_path: Path) -> None:
    options = QuantizeConfig.model_validate(config)
    result = quantize(model, _SAMPLES, target=load_target("x86-vnni"), output=tmp_path / "out.onnx", config=options)
    coverage = result.facts.coverage
    assert coverage.int8_macs_share == pytest.approx(share)
    assert coverage.quantized_macs_share is None
    if share == 1.0:
        assert coverage.islands == ()


def test_a_provider_that_computes_in_floats_has_no_integer_share(model: Path, tmp_path: Path) -> None:
    coverage = quantize(model, _SAMPLES, target=load_target("cuda"), output=tmp_path / "out.onnx").facts.coverage
    assert (coverage.int8_macs_share, coverage.quantized_macs_share) == (0.0, 1.0)
    assert coverage.seen_in == "CUDAExecutionProvider computes Q/DQ pairs in floating point"


def test_what_a_provider_that_is_not_here_makes_of_it_is_not_known(model: Path, tmp_path: Path) -> None:
    coverage = quantize(model, _SAMPLES, target=load_target("tensorrt"), output=tmp_path / "out.onnx").facts.coverage
    assert (coverage.int8_macs_share, coverage.quantized_macs_share) == (None, 1.0)
    assert "TensorrtExecutionProvider is not in this onnxruntime" in coverage.seen_in


@pytest.mark.parametrize("target", ["tensorrt", "cuda", "browser-wasm"])
@pytest.mark.parametrize(("scheme", "operator"), [("dynamic", "MatMulInteger"), ("weights-int4", "MatMulNBits")])
def test_integer_operators_are_no_pairs(model: Path, tmp_path: Path, target: str, scheme: str, operator: str) -> None:
    options = QuantizeConfig.model_validate({"scheme": scheme})
    coverage = quantize(
        model, _SAMPLES, target=load_target(target), output=tmp_path / "out.onnx", config=options
    ).facts.coverage
    assert coverage.int8_macs_share is None and coverage.promised == "integer operators"
    assert coverage.quantized_macs_share == pytest.approx(
        1.0 if scheme == "dynamic" else 64 / 80
    )  # one is too small for blocks
    assert f"the file's {operator} are known, not what it makes of them" in coverage.seen_in


def test_a_file_without_integers_promises_nothing(model: Path, tmp_path: Path) -> None:
    options = QuantizeConfig.model_validate({"scheme": "float16"})
    coverage = quantize(
        model, _SAMPLES, target=load_target("cuda"), output=tmp_path / "out.onnx", config=options
    ).facts.coverage
    assert (coverage.int8_macs_share, coverage.quantized_macs_share) == (0.0, None)
