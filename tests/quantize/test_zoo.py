"""Strangers' models: quantized validly or refused in one line. All 70 are in benchmarks/quantize/ZOO.md."""

import importlib.util
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("EDGEOPT_DATA", ROOT.parent / "shared" / "data")) / "onnx_zoo"
_spec = importlib.util.spec_from_file_location("zoo", ROOT / "benchmarks" / "quantize" / "zoo.py")
zoo = importlib.util.module_from_spec(_spec)


@pytest.fixture(scope="module", autouse=True)
def loaded():
    import sys

    sys.modules["zoo"] = zoo
    _spec.loader.exec_module(zoo)


@pytest.mark.data
@pytest.mark.skipif(not FOLDER.is_dir(), reason=f"{FOLDER} is not there; EDGEOPT_DATA names the folder of real models")
@pytest.mark.parametrize(
    ("name", "outcomes"),
    [
        ("0fab18a070_gemm.onnx", {"unchanged"}),  # nodes not in topological order, Gemm with alpha
        ("b511101a2c_add.onnx", {"unchanged", "quantized"}),  # the same, nothing to quantize on a CPU
        ("b9f0332c04_KJ_TinyTaxiNet.onnx", {"quantized"}),
        ("56b8b827c9_conv.onnx", {"quantized"}),
        ("5ff31292a0_self-attention-small-sim.onnx", {"quantized"}),
        ("e26b023193_dropout.onnx", {"refused"}),  # onnxruntime cannot load it
        ("3e5c7f4cf0_resize_4dims.onnx", {"unchanged", "quantized", "refused"}),
        ("2345cdb26b_fullVanilla.onnx", {"quantized"}),
    ],
)
@pytest.mark.parametrize("target", ["x86-vnni", "qnn-htp-emulated", "tensorrt"])
def test_a_stranger_is_quantized_validly_or_refused_in_one_line(name, outcomes, target):
    row = zoo.examine(FOLDER / name, target)
    assert row.outcome in outcomes, row.detail
