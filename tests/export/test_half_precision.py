"""Models exported as float16 and bfloat16; everything else is float32."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch

from edgeopt.errors import ModelError
from edgeopt.export import ExportConfig, export
from edgeopt.export.proof import prove, tiny_model
from edgeopt.export.registry import load_family

GENERATE = "text-generation"
ROWS = [
    ("bert", "text-classification", "float16"),
    ("bert", "text-classification", "bfloat16"),
    ("resnet", "image-classification", "float16"),
    ("resnet", "image-classification", "bfloat16"),
    ("llama", GENERATE, "float16"),
    ("llama", GENERATE, "bfloat16"),
    ("t5", "text2text-generation/decoder", "float16"),
    ("bart", "text2text-generation/encoder", "float16"),
    ("whisper", "automatic-speech-recognition/encoder", "float16"),
]


@pytest.mark.parametrize(("name", "task", "dtype"), ROWS, ids=[f"{name}-{dtype}" for name, _, dtype in ROWS])
def test_a_tiny_model_holds_within_the_tolerance_of_its_type(tmp_path, target, name, task, dtype):
    row = prove(load_family(name), task, target=target, folder=tmp_path, dtype=dtype)
    assert row.holds, row
    assert 0 < row.relative_error <= {"float16": 1e-2, "bfloat16": 8e-2}[dtype]
    assert (row.greedy is None) == (task != GENERATE and not task.endswith("/decoder"))
    graph = onnx.load(tmp_path / "model.onnx").graph
    wanted = {"float16": onnx.TensorProto.FLOAT16, "bfloat16": onnx.TensorProto.BFLOAT16}[dtype]
    kinds = {value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)}
    assert kinds <= {wanted, onnx.TensorProto.INT64}
    if name == "llama":
        assert row.operators["RMSNormalization"] == 5


class Scaled(torch.nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = torch.nn.Linear(3, 2)
        self.factor = factor

    def forward(self, x):
        return self.linear(x) * self.factor


def samples():
    return [{"x": np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)}]


def test_the_callers_model_is_as_it_was_and_the_result_says_the_type(tmp_path, target):
    model = Scaled(1.0)
    before = model.linear.weight.clone()
    result = export(model, samples(), target=target, output=tmp_path, config=ExportConfig(dtype="bfloat16"))
    assert model.linear.weight.dtype == torch.float32 and torch.equal(model.linear.weight, before)
    assert result.dtype == "bfloat16" and [value.dtype for value in result.inputs] == ["bfloat16"]
    assert "verified in float32 arithmetic" in result.warnings[-1]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.onnx"]
    assert export(model, samples(), target=target, output=tmp_path).dtype == "float32"


def test_a_transformers_model_of_half_weights_needs_no_option(tmp_path, target):
    model = tiny_model(load_family("gpt2"), GENERATE).half()
    result = export(model, None, target=target, output=tmp_path)
    assert {value.dtype for value in (*result.inputs, *result.outputs)} == {"int64", "float16"}
    assert result.parity.tolerance == 1e-2


def test_outputs_beyond_float16_are_an_error_that_says_what_to_do(tmp_path, target):
    large = [{"x": 100 * samples()[0]["x"]}]
    with pytest.raises(ModelError, match=r"'output' of Scaled is not finite in float16, .* 65504; export as bfloat16 or fl"):
        export(Scaled(6e4), large, target=target, output=tmp_path, config=ExportConfig(dtype="float16"))
    assert not list(tmp_path.iterdir())


def test_a_number_in_the_code_that_float16_lacks_is_an_error_that_says_what_to_write(tmp_path, target):
    class Hidden(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(3, 2)

        def forward(self, x):
            return self.linear(x).masked_fill(self.linear(x) > 0, -1e9)

    with pytest.raises(ModelError, match=r"without overflow; write torch\.finfo\(x\.dtype\)\.min for it"):
        export(Hidden(), samples(), target=target, output=tmp_path, config=ExportConfig(dtype="float16"))


class Guarded(torch.nn.Module):
    """Divides by a sum that a small number keeps from 0, as float16 does not."""

    def __init__(self, guard):
        super().__init__()
        self.linear = torch.nn.Linear(3, 3)
        self.guard = guard

    def forward(self, x):
        return x / (self.linear(x).relu() * 0 + self.guard)


def test_a_guard_that_float16_rounds_to_zero_is_refused_and_float32_is_not(tmp_path, target):
    with pytest.raises(ModelError, match=r"not finite in float16, .* \(first in the model's own code; 3e-08 and less is 0\)"):
        export(Guarded(1e-9), samples(), target=target, output=tmp_path, config=ExportConfig(dtype="float16"))
    assert export(Guarded(1e-9), samples(), target=target, output=tmp_path).parity.passed


def test_a_weight_that_float16_rounds_to_zero_is_named(tmp_path, target):
    model = Scaled(1.0)
    model.register_buffer("step", torch.tensor(1e-10))
    with pytest.raises(ModelError, match="weight step holds no number above 1e-10, which float16 rounds to 0"):
        export(model, samples(), target=target, output=tmp_path, config=ExportConfig(dtype="float16"))


def test_an_exported_classifier_can_be_quantized_to_float16(tmp_path, target):
    from edgeopt.export.family import random_samples
    from edgeopt.quantize import QuantizeConfig, quantize

    family = load_family("bert")
    model = tiny_model(family, "text-classification")
    drawn = random_samples(family.tasks["text-classification"], model.config)
    path = export(model, drawn, target=target, output=tmp_path).path
    result = quantize(path, drawn, target=target, output=tmp_path / "half.onnx", config=QuantizeConfig(scheme="float16"))
    assert result.facts.layers[0].sqnr_db > 50
