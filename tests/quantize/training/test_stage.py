from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import edgeopt
from edgeopt.errors import ModelError
from edgeopt.graph import files
from edgeopt.graph.outputs import open_exposed
from edgeopt.quantize import QuantizeConfig, QuantizeResult
from edgeopt.quantize.plan.plan import load_plan
from edgeopt.quantize.schemes import static
from edgeopt.quantize.sqnr import Noise
from edgeopt.quantize.training import stage
from edgeopt.quantize.training.checkpoint import State
from edgeopt.quantize.training.operators import OPERATORS
from edgeopt.quantize.training.run import TrainingRun, held_db


def _images(count: int, seed: int) -> list[dict[str, np.ndarray]]:
    generator = np.random.default_rng(seed)
    return [{"x": generator.standard_normal((1, 3, 16, 16), dtype=np.float32)} for _ in range(count)]


@pytest.fixture
def uneven(conv_model: onnx.ModelProto, saved: Callable[[onnx.ModelProto], Path]) -> Path:
    """A network one of whose channels is 300 times larger than the others: one scale for a tensor leaves these few levels."""
    weights = {tensor.name: tensor for tensor in conv_model.graph.initializer}
    for name, factor in (("w1", 300.0), ("b1", 300.0)):
        values = onnx.numpy_helper.to_array(weights[name]).copy()
        values[0] *= factor
        weights[name].CopyFrom(onnx.numpy_helper.from_array(values, name))
    values = onnx.numpy_helper.to_array(weights["w2"]).copy()
    values[:, 0] /= 300
    weights["w2"].CopyFrom(onnx.numpy_helper.from_array(values, "w2"))
    return saved(conv_model)


def _quantized(model: Path, output: Path, train: dict[str, object] | None) -> QuantizeResult:
    options: dict[str, object] = {"equalize": False, "collapse_db": None, "correct_bias": False}
    config = QuantizeConfig.read(options | ({"train": train} if train else {}), where="test")
    return edgeopt.quantize(model, _images(40, 0), target=edgeopt.load_target("nnapi"), output=output, config=config)


def _db(exact: Path, quantized: Path) -> float:
    """Return the SQNR on images used neither in calibration nor in training."""
    noise = Noise()
    before, after = (_session(path) for path in (exact, quantized))
    for sample in _images(16, 7):
        noise.add(before.run(["y"], sample)[0], after.run(["y"], sample)[0])
    return noise.db


def _session(path: Path) -> onnxruntime.InferenceSession:
    return open_exposed(files.load(path), threads=1)


def test_training_gives_back_what_rounding_took(uneven: Path, tmp_path: Path) -> None:
    plain = _quantized(uneven, tmp_path / "plain.onnx", None)
    options: dict[str, object] = {"time": 600, "steps": 40, "block_steps": 10, "batch_size": 12}
    better = _quantized(uneven, tmp_path / "trained.onnx", options)
    assert _db(uneven, better.path) > _db(uneven, plain.path) + 3
    before, after = (onnx.load(item.path) for item in (plain, better))
    assert [node.op_type for node in before.graph.node] == [node.op_type for node in after.graph.node]
    decision = next(item for item in better.facts.decisions if item.what == "training")
    assert all(
        text in decision.reason
        for text in ("dB become", "by adaptive rounding", "by training block by block", "40 steps end to end")
    )
    ranges = {tensor.name: (tensor.low, tensor.high) for tensor in load_plan(plain.plan_path).tensors}
    assert any(ranges[tensor.name] != (tensor.low, tensor.high) for tensor in load_plan(better.plan_path).tensors)


def test_rounding_ends_with_its_share_of_the_time(uneven: Path, tmp_path: Path) -> None:
    rounded = {}
    for seconds in (1e-6, 600):
        options = {"time": seconds, "steps": 1, "block_steps": 1}
        result = _quantized(uneven, tmp_path / f"{seconds}.onnx", options)
        rounded[seconds] = any(decision.what == "rounding" for decision in result.facts.decisions)
    assert rounded == {1e-6: False, 600: True}


def test_phases_for_which_there_is_no_time_are_left_out(uneven: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for phase in ("train_blocks", "train_whole"):
        monkeypatch.setattr(stage, phase, lambda *_, **__: pytest.fail("there was no time"))
    result = _quantized(uneven, tmp_path / "short.onnx", {"time": 1e-6})
    assert any("gained nothing" in warning for warning in result.facts.warnings)


def test_same_steps_give_the_same_file(uneven: Path, tmp_path: Path) -> None:
    made = [
        _quantized(uneven, tmp_path / f"{name}.onnx", {"time": 600, "steps": 5, "block_steps": 5}).path.read_bytes()
        for name in "ab"
    ]
    assert made[0] == made[1]


@pytest.mark.parametrize("phase", ["adapted", "blocks", "whole"])
def test_a_killed_training_goes_on_and_gives_the_same_file(
    phase: str, uneven: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, object] = {"time": 600, "steps": 5, "block_steps": 5}
    wanted = _quantized(uneven, tmp_path / "whole.onnx", options)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    place = {"adapted": (static, "adapted"), "blocks": (stage, "train_blocks"), "whole": (stage, "train_whole")}[phase]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(*place, killed)
        _quantized(uneven, tmp_path / "killed.onnx", options)
    state = tmp_path / "killed.onnx.training"
    assert state.is_file() is (phase != "adapted")
    rounded = []
    if state.is_file():
        monkeypatch.setattr(static, "adapted", lambda *_, **__: rounded.append(1))
    made = _quantized(uneven, tmp_path / "killed.onnx", options)
    assert made.path.read_bytes() == wanted.path.read_bytes()
    assert not rounded
    assert not state.exists()
    reasons = [[item.reason for item in result.facts.decisions if item.what == "rounding"] for result in (wanted, made)]
    assert reasons[0] == reasons[1] != []


def test_a_resumed_training_compares_on_the_samples_that_it_holds_aside(
    uneven: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, object] = {"time": 600, "steps": 1, "block_steps": 1}
    prepared, resumed = stage.prepared_run, stage._Phases._resume
    seen = []

    def with_one(*given: Any) -> TrainingRun:
        work = prepared(*given)
        return replace(work, data=replace(work.data, held=work.data.held[:1]))

    def looked(phases: stage._Phases, kept: State, now: State) -> None:
        before = replace(phases.progress)
        resumed(phases, kept, now)
        phases.work.module.load_state_dict(kept)
        seen.append((before, replace(phases.progress), held_db(phases.work)))
        phases.work.module.load_state_dict(now)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(stage, "prepared_run", with_one)
        patch.setattr(stage, "train_whole", killed)
        _quantized(uneven, tmp_path / "killed.onnx", options)
    monkeypatch.setattr(stage._Phases, "_resume", looked)
    _quantized(uneven, tmp_path / "killed.onnx", options)
    ((before, after, best),) = seen
    assert before.held == 1 < after.held
    assert after.best == best != before.best and after.start != before.start


def test_nothing_changes_where_training_gains_nothing(uneven: Path, tmp_path: Path) -> None:
    plain = _quantized(uneven, tmp_path / "plain.onnx", None)
    wild = _quantized(
        uneven,
        tmp_path / "wild.onnx",
        {
            "time": 600,
            "steps": 3,
            "block_steps": 3,
            "rounding": "nearest",
            "learning_rate": 1e5,
            "block_learning_rate": 1e5,
            "scale_learning_rate": 50,
        },
    )
    assert wild.path.read_bytes() == plain.path.read_bytes()
    assert "gained nothing" in next(item.reason for item in wild.facts.decisions if item.what == "training")
    assert any("gained nothing" in warning for warning in wild.facts.warnings)


def test_an_operator_that_computes_something_else_is_refused_by_its_tensor(
    uneven: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(OPERATORS, "GlobalAveragePool", lambda _, x: x.amax(dim=(2, 3), keepdim=True))  # type: ignore[index]
    with pytest.raises(ModelError, match=r"part at 'p.*dB.*leave --train out"):
        _quantized(uneven, tmp_path / "other.onnx", {"time": 600, "steps": 1, "block_steps": 1})


def test_operators_that_cannot_be_trained_are_refused_before_calibration(
    saved: Callable[[onnx.ModelProto], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        '<ir_version: 10, opset_import: ["" : 21]> net (float[n, 3, 16, 16] x) => (float[n, 4, 16, 16] y) '
        '{ e = Einsum <equation = "nchw,nchw->nchw"> (x, x) y = Conv (e, w1) }'
    )
    model = onnx.parser.parse_model(text)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((4, 3, 1, 1), np.float32), "w1"))
    monkeypatch.setattr(static, "draft_plan", lambda *_, **__: pytest.fail("calibrated first"))
    with pytest.raises(ModelError, match="cannot train through Einsum"):
        _quantized(saved(model), tmp_path / "e.onnx", {"time": 600})


def test_training_without_integer_nodes_is_warned_of(saved: Callable[[onnx.ModelProto], Path], tmp_path: Path) -> None:
    text = '<ir_version: 10, opset_import: ["" : 21]> net (float[n, 3, 16, 16] x) => (float[n, 3, 16, 16] y) { y = Relu (x) }'
    config = QuantizeConfig.read({"train": {"time": 1, "steps": 1, "block_steps": 1}}, where="test")
    made = edgeopt.quantize(
        saved(onnx.parser.parse_model(text)),
        _images(4, 0),
        target=edgeopt.load_target("x86-vnni"),
        output=tmp_path / "f.onnx",
        config=config,
    )
    assert any("nothing was trained" in warning for warning in made.facts.warnings)


def test_loss_that_is_not_finite_is_named(uneven: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeopt.quantize.training import objective

    monkeypatch.setattr(objective, "relative_error", lambda made, wanted: made.sum() * float("nan"))
    with pytest.raises(ModelError, match="loss part 'outputs' is not finite"):
        _quantized(uneven, tmp_path / "nan.onnx", {"time": 600, "steps": 1, "block_steps": 1})
