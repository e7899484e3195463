"""`edgeopt diagnose`: the steps as rows, what to copy, the exit code, and which samples and target are used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import parser

from edgeopt.quantize.inspect.diagnosis import Step
from tests.cli.conftest import SMALL, edgeopt_here

FINE = Step("onnx → qdq", 40.0, 15.0)
BAD = Step("qdq → optimized", 3.21, 25.0, "c", 2.0, "conv", "--exclude conv")


@pytest.fixture
def asked(small: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the command asks the stage for; `steps` is its answer."""
    seen: dict[str, Any] = {"steps": (FINE,)}

    def diagnose(model: Path, quantized: Path, batches: list[Any], *, target: Any) -> tuple[Step, ...]:
        seen.update(model=model, quantized=quantized, batches=batches, target=target)
        return seen["steps"]

    monkeypatch.setattr("edgeopt.quantize.inspect.diagnosis.diagnose", diagnose)
    monkeypatch.chdir(small)
    return seen


COMMAND = ("diagnose", "model.onnx", "int8.onnx", "--data", "data.npz", "-q")


def test_steps_that_are_fine_end_with_0(asked: dict[str, Any]) -> None:
    done = edgeopt_here(*COMMAND, "--format", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [
        {
            "step": "onnx → qdq",
            "outputs": "40.0 dB",
            "wanted": "15 dB",
            "verdict": "fine",
            "first bad tensor": "",
            "try": "",
        }
    ]
    assert (asked["model"], asked["quantized"], asked["target"]) == (Path("model.onnx"), Path("int8.onnx"), None)
    assert [batch["x"].shape for batch in asked["batches"]] == [(1, 16)] * 4


def test_a_fault_ends_with_1_and_what_to_exclude_can_be_copied_once(asked: dict[str, Any]) -> None:
    advice = Step("optimized → provider", 1.0, 25.0, "d", 1.5, "matmul", "look at the node")
    asked["steps"] = (FINE, BAD, BAD, advice)
    done = edgeopt_here(*COMMAND, "--limit", "2", "--target", "x86-avx2")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-2:] == [
        "to leave what is at fault in floating point, add to edgeopt quantize:",
        "    --exclude conv",
    ]
    assert done.stdout.count("add to edgeopt quantize") == 1
    assert "c (2.0 dB)" in done.stdout and done.stdout.count("at fault") == 4  # three rows and the advice
    assert len(asked["batches"]) == 2 and asked["target"].name == "x86-avx2"
    assert "    --exclude" not in edgeopt_here(*COMMAND, "--format", "markdown").stdout, "a Markdown table stands alone"


def test_an_unknown_format_is_refused_before_anything_is_read(asked: dict[str, Any]) -> None:
    done = edgeopt_here("diagnose", "none.onnx", "int8.onnx", "--data", "none.npz", "--format", "jsn")
    assert done.returncode == 2
    assert done.stderr == "edgeopt: --format jsn (did you mean 'json'?): choose table, json, markdown\n"


def test_a_source_adds_the_step_of_the_export(asked: dict[str, Any], small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (small / "nets_of_diagnose.py").write_text(
        "import torch\n\nclass Net(torch.nn.Module):\n    def forward(self, x):\n        return torch.relu(x + 1.0)\n"
    )
    onnx.save(parser.parse_model(SMALL), small / "model.onnx")  # adds 1 and rectifies, too
    done = edgeopt_here(*COMMAND, "--source", "nets_of_diagnose:Net", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert [(row["step"], row["verdict"]) for row in json.loads(done.stdout)] == [
        ("torch → onnx", "fine"),
        ("onnx → qdq", "fine"),
    ]
    onnx.save(parser.parse_model(SMALL.replace("Relu", "Neg")), small / "model.onnx")
    np.savez(small / "data.npz", x=np.full((4, 16), 2.0, np.float32))
    assert edgeopt_here(*COMMAND, "--source", "nets_of_diagnose:Net").returncode == 1
