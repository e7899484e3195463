"""Outputs of samples: in order, and where their axes differ from sample to sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import parser
from torch import nn

from edgeopt.data.outputs import Runnable
from edgeopt.data.samples import Samples, from_arrays
from edgeopt.errors import DataError, ModelError
from edgeopt.evaluate.lockstep import evaluate_together
from edgeopt.evaluate.outputs import onnx_model, onnx_outputs, torch_model, torch_outputs
from edgeopt.graph.provider import Provider
from edgeopt.tasks.outputs_only import OutputsOnly

TAGGER = """
<ir_version: 10, opset_import: ["" : 20]>
tagger (float[batch, length, 2] x) => (float[batch, length, 3] tags, float[batch, 1, 2] pooled)
<float[2, 3] w = {1.0, 0.0, -1.0, 0.5, 1.0, 2.0}, int64[1] axis = {1}>
{ tags = MatMul(x, w)  pooled = ReduceSum(x, axis) }
"""
LENGTHS = [5, 2, 7, 2, 5, 1, 7, 7]


@pytest.fixture
def samples() -> Samples:
    generator = np.random.default_rng(0)
    arrays = [generator.standard_normal((length, 2)).astype(np.float32) for length in LENGTHS]
    return Samples(len(arrays), lambda index: {"x": arrays[index]}, None, "0" * 64, pad={"x": 9.0})


def test_a_token_classifiers_outputs_are_those_of_each_sample_alone(samples: Samples, tmp_path: Path) -> None:
    onnx.save(parser.parse_model(TAGGER), tmp_path / "tagger.onnx")
    found = onnx_outputs(tmp_path / "tagger.onnx", samples, provider=Provider(name="CPUExecutionProvider"), name="tagger")
    weights = np.array([[1.0, 0.0, -1.0], [0.5, 1.0, 2.0]], np.float32)
    alone = np.concatenate([samples[index]["x"] @ weights for index in range(len(samples))])
    assert found["tags"].shape == (sum(LENGTHS), 3)
    np.testing.assert_allclose(found["tags"], alone, atol=1e-6)
    pooled = np.stack([samples[index]["x"].sum(axis=0, keepdims=True) for index in range(len(samples))])
    np.testing.assert_allclose(found["pooled"], pooled, atol=1e-5)  # no padding was summed


def test_token_classifiers_are_compared_position_by_position(samples: Samples) -> None:
    def scaled(factor: float) -> Runnable:
        return Runnable(f"times {factor}", lambda batch: {"logits": batch["x"] * factor}, samples, 32)

    before, after = evaluate_together([scaled(1.0), scaled(-1.0)], OutputsOnly(), [None, 0])
    assert OutputsOnly().agreement(before.answers, before.answers) == 1.0
    assert OutputsOnly().agreement(after.answers, before.answers) == 0.0
    assert after.errors["logits"].relative == pytest.approx(2.0)


def test_outputs_without_a_last_axis_in_common_become_one_row_of_numbers(samples: Samples) -> None:
    found = torch_outputs(lambda batch: batch["x"][:, :, 0], samples, name="spans")["logits"]
    np.testing.assert_array_equal(found, np.concatenate([samples[index]["x"][:, 0] for index in range(len(samples))]))


SIGN = """
<ir_version: 8, opset_import: ["" : 17]>
net (float[n, 2] x) => (float[n, 2] y, seq(float[n, 1]) parts, bfloat16[n, 2] rough)
<int64 one = {1}> { y = Tanh(x)  parts = SplitToSequence <axis = 1> (x, one)  rough = Cast <to = 16> (x) }
"""


def opened(folder: Path, text: str, **arrays: np.ndarray) -> Runnable:
    onnx.save(parser.parse_model(text), folder / "net.onnx")
    return onnx_model(folder / "net.onnx", from_arrays(arrays), provider=Provider(name="CPUExecutionProvider"), name="net")


def test_outputs_that_are_no_arrays_of_numbers_are_not_compared(tmp_path: Path) -> None:
    model = opened(tmp_path, SIGN, x=np.zeros((3, 2), np.float32))
    assert list(model.run(model.samples.collate([0, 1]))) == ["y"]
    with pytest.raises(ModelError, match="nothing to compare"):
        opened(tmp_path, SIGN.replace("float[n, 2] y, ", "").replace("y = Tanh(x)", ""), x=np.zeros((3, 2), np.float32))


def test_samples_that_a_model_cannot_take_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="input 'x': dtype is complex64, the model takes float32; convert the samples"):
        opened(tmp_path, SIGN, x=np.zeros((3, 2), np.complex64))
    with pytest.raises(DataError, match=r"input 'x' is missing; the samples have: z"):
        opened(tmp_path, SIGN, z=np.zeros((3, 2), np.float32))


def test_a_model_that_fails_on_the_samples_is_an_error_of_the_data(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]>
    net (float[n, 2] x) => (float[n, 3] y) <float[2, 3] w = {1, 2, 3, 4, 5, 6}, int64[2] to = {1, 2}>
    { flat = Reshape(x, to)  y = MatMul(flat, w) }"""
    model = opened(tmp_path, text, x=np.zeros((3, 2), np.float32))
    with pytest.raises(DataError, match=r"net: cannot run on the samples: .*reshape"):
        model.run(model.samples.collate([0, 1, 2]))


def test_a_pytorch_model_takes_double_precision_and_refuses_other_shapes_in_one_line() -> None:
    double = from_arrays({"input": np.ones((2, 3))})
    model = torch_model(nn.Linear(3, 2), OutputsOnly(), double, name="net")
    assert model.run(model.samples.collate([0, 1]))["logits"].shape == (2, 2)
    other = torch_model(nn.Linear(4, 2), OutputsOnly(), double, name="net")
    with pytest.raises(ModelError, match=r"the model net cannot take the samples \(input \[1, 3\]\)"):
        other.run(other.samples.collate([0]))
