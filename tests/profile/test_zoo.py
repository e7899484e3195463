"""Strangers' ONNX files through `edgeopt profile`: a sample; `python -m benchmarks.profile.zoo` takes them all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.profile.zoo import problem

ZOO = Path(os.environ.get("EDGEOPT_DATA", Path(__file__).resolve().parents[3] / "shared" / "data")) / "onnx_zoo"
SAMPLE = {
    "0955c5f283_add.onnx": 0,
    "5ff31292a0_self-attention-small-sim.onnx": 0,
    "b9a38c331e_constant_slice_test.onnx": 0,
    "127ffc922b_silero_vad.onnx": 2,
    "e26b023193_dropout.onnx": 2,
}


@pytest.mark.parametrize(("name", "code"), SAMPLE.items())
def test_a_strangers_model_gets_a_proper_answer(name: str, code: int) -> None:
    if not (ZOO / name).is_file():
        pytest.skip(f"{ZOO / name} is not there; set EDGEOPT_DATA")
    assert problem(ZOO / name, seconds=0.3) == (code, "")
