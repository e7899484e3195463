"""Threads and batch sizes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

from edgeopt.errors import DataError, RecipeError
from edgeopt.profile.sweeps import SweepConfig, sweep
from edgeopt.targets.target import load_target


def _here() -> Any:
    target = load_target("x86-avx2")
    return target.model_copy(update={"device": target.device.model_copy(update={"machine": [], "cpu_flags": []})})


@pytest.fixture
def model(tmp_path: Path) -> Path:
    made = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> n (float[N, 64] x) => (float[N, 64] y) { a = MatMul (x, w) y = MatMul (a, w) }'
    )
    made.graph.initializer.append(onnx.numpy_helper.from_array(np.eye(64, dtype=np.float32), "w"))
    onnx.save(made, tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


_ROWS = [{"x": np.full((1, 64), number, np.float32)} for number in range(64)]


def test_every_point_is_measured(model: Path) -> None:
    config = SweepConfig(threads=[1, 2], batch_sizes=[1, 64], seconds=1.5)
    result = sweep(model, _ROWS, target=_here(), config=config)
    assert [(point.threads, point.batch_size) for point in result.points] == [(1, 1), (1, 64), (2, 1), (2, 64)]
    assert all(point.n > 10 and point.throughput_per_s > 0 for point in result.points)
    assert result.points[1].throughput_per_s > 2 * result.points[0].throughput_per_s, "64 at once must beat one at a time"
    assert json.dumps(result.facts(), allow_nan=False)


def test_too_few_samples_and_ragged_ones_are_refused(model: Path) -> None:
    with pytest.raises(DataError, match="batch size 65 needs as many samples"):
        sweep(model, _ROWS, target=_here(), config=SweepConfig(batch_sizes=[65]))
    ragged = [{"x": np.ones((1, 64), np.float32)}, {"x": np.ones((1, 63), np.float32)}]
    with pytest.raises(DataError, match=r"batch 1, input 'x' .* shape \[1, 63\]"):
        sweep(model, ragged, target=_here(), config=SweepConfig(batch_sizes=[2]))


def test_axes_by_name_are_cropped_and_repeated(model: Path, tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> n (int64[batch, sequence] ids, float[batch, sequence, 4] states)
    => (float[batch, sequence, 4] y) { c = Cast <to = 1> (ids) a = Constant <value_ints = [2]> () u = Unsqueeze (c, a)
    y = Mul (u, states) }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "n.onnx")
    row = {"ids": np.arange(6, dtype=np.int64)[None], "states": np.ones((1, 6, 4), np.float32)}
    config = SweepConfig(axes={"sequence": [2, 16], "batch": [1, 3]}, seconds=1.0)
    result = sweep(tmp_path / "n.onnx", [row] * 3, target=_here(), config=config)
    assert [(point.batch_size, point.sizes) for point in result.points] == [
        (size, {"sequence": length}) for size in (1, 3) for length in (2, 16)
    ]
    said = r"has no dynamic axis 'sequense' \(did you mean 'sequence'\?\); it has batch, sequence"
    with pytest.raises(RecipeError, match=said):
        sweep(tmp_path / "n.onnx", [row], target=_here(), config=SweepConfig(axes={"sequense": [1]}))
    with pytest.raises(RecipeError, match=r"give batch_sizes or axes\.N, not both"):
        sweep(model, _ROWS, target=_here(), config=SweepConfig(axes={"N": [1, 2]}, batch_sizes=[4]))


def test_the_batch_axis_is_wherever_an_input_has_it(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> n (float[N, 4] x, float[2, N, 4] state, float k) => (float[2, N, 4] y)
    { a = Mul (x, k) y = Add (a, state) }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "n.onnx")
    row = {"x": np.ones((1, 4), np.float32), "state": np.zeros((2, 1, 4), np.float32), "k": np.array(2, np.float32)}
    result = sweep(tmp_path / "n.onnx", [row] * 3, target=_here(), config=SweepConfig(batch_sizes=[1, 3], seconds=0.5))
    assert [point.batch_size for point in result.points] == [1, 3]


def test_samples_of_different_lengths_are_refused(tmp_path: Path) -> None:
    text = '<ir_version: 8, opset_import: ["": 17]> n (float[N, S] x) => (float[N, S] y) { y = Tanh (x) }'
    onnx.save(onnx.parser.parse_model(text), tmp_path / "n.onnx")
    rows = [{"x": np.ones((1, length), np.float32)} for length in (3, 4)]
    with pytest.raises(DataError, match="different shapes"):
        sweep(tmp_path / "n.onnx", rows, target=_here(), config=SweepConfig(batch_sizes=[2]))


def test_more_threads_than_cores_is_said(model: Path) -> None:
    result = sweep(model, _ROWS, target=_here(), config=SweepConfig(threads=[99], seconds=3.0))
    assert any("99 threads on" in warning for warning in result.warnings)
