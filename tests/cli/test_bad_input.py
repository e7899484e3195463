"""Bad input gets one line that says what, where, what is allowed and what to do; exit code 2, nothing half-written."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import parser

from edgeopt.cli import main
from tests.cli.conftest import Done

MODEL = """
<ir_version: 10, opset_import: ["" : 20]>
small (float[batch, 4] x) => (float[batch, 3] y)
<float[4, 3] w = {0.1, -0.2, 0.3, 0.4, 0.5, -0.6, 0.7, 0.8, 0.9, -1.0, 1.1, 1.2}>
{ y = MatMul(x, w) }
"""
CUSTOM = """
<ir_version: 10, opset_import: ["" : 20, "my.ops" : 1]>
small (float[batch, 4] x) => (float[batch, 4] y)
{ y = my.ops.Magic(x) }
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    onnx.save(parser.parse_model(MODEL), tmp_path / "model.onnx")
    onnx.save(parser.parse_model(CUSTOM), tmp_path / "custom.onnx")
    samples = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
    np.savez(tmp_path / "good.npz", x=samples)
    np.savez(tmp_path / "empty.npz", x=samples[:0])
    np.savez(tmp_path / "nothing.npz")
    np.savez(tmp_path / "name.npz", z=samples)
    np.savez(tmp_path / "shape.npz", x=samples[:, :3])
    np.savez(tmp_path / "dtype.npz", x=samples.astype(np.float64) * 1e300)
    poisoned = samples.copy()
    poisoned[4, 2] = np.nan
    np.savez(tmp_path / "nan.npz", x=poisoned)
    (tmp_path / "text.onnx").write_text("this is not a model", encoding="utf-8")
    whole = (tmp_path / "model.onnx").read_bytes()
    (tmp_path / "truncated.onnx").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.npz").write_text("not arrays", encoding="utf-8")
    return tmp_path


Command = Callable[..., Done]


@pytest.fixture
def command(folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Return a function that runs a command in the folder, in this process, and returns all that was written."""
    monkeypatch.chdir(folder)

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["edgeopt", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert isinstance(ended.value.code, int)
        return Done(ended.value.code, *capfd.readouterr())

    return run


def assert_refused(result: Done, *words: str) -> None:
    assert result.returncode == 2, (result.returncode, result.stderr)
    assert result.stdout == ""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("edgeopt: ")
    for word in words:
        assert word in lines[0], lines[0]


@pytest.mark.parametrize(
    ("model", "data", "words"),
    [
        ("missing.onnx", "good.npz", ["missing.onnx", "no such model file"]),
        ("text.onnx", "good.npz", ["text.onnx", "not an ONNX"]),
        ("truncated.onnx", "good.npz", ["truncated.onnx"]),
        ("custom.onnx", "good.npz", ["Magic", "not registered"]),
        ("model.onnx", "missing.npz", ["missing.npz", "no such calibration data"]),
        ("model.onnx", "text.npz", ["text.npz", "damaged .npz file"]),
        ("model.onnx", "nothing.npz", ["nothing.npz", "no arrays"]),
        ("model.onnx", "empty.npz", ["empty.npz", "no samples"]),
        ("model.onnx", "name.npz", ["'z'", "inputs are: x"]),
        ("model.onnx", "shape.npz", ["x", "3", "4"]),
        ("model.onnx", "dtype.npz", ["x", "float64", "float32"]),
        ("model.onnx", "nan.npz", ["sample 4", "x"]),
        ("model.onnx", "no-such-set", ["no-such-set", "known:"]),
    ],
)
def test_quantize(command: Command, folder: Path, model: str, data: str, words: list[str]) -> None:
    result = command("quantize", model, "--calibration", data, "-o", "out.onnx")
    assert_refused(result, *words)
    assert not list(folder.glob("*out*"))


def test_good_input_is_quantized(command: Command, folder: Path) -> None:
    result = command("quantize", "model.onnx", "--calibration", "good.npz", "--target", "x86-vnni", "-o", "out.onnx", "-q")
    assert result.returncode == 0, result.stderr
    assert "6 samples" in result.stdout
    onnx.checker.check_model(str(folder / "out.onnx"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "quickstart", "--set", "quantize.rnges=mse"], ["unknown key 'quantize.rnges'", "'ranges'"]),
        (["run", "quickstart", "--set", "seed=many"], ["'seed'", "'many'", "integer"]),
        (["run", "quickstart", "--set", "target=x86-vni"], ["x86-vni", "'x86-vnni'"]),
        (["run", "quickstrat"], ["quickstrat", "'quickstart'"]),
        (["run", "nowhere.toml"], ["nowhere.toml"]),
        (["quantize", "model.onnx", "--calibration", "good.npz", "--target", "arm65", "-o", "o.onnx"], ["arm65", "'arm64'"]),
        (["profile", "missing.onnx"], ["missing.onnx"]),
        (["profile", "model.onnx", "--target", "arm64", "--seconds", "1"], ["arm64", "aarch64"]),
        (["profile", "model.onnx", "--budget", "p95<=20"], ["p95", "p95_ms"]),
        (["verify", "."], ["bundle"]),
        (["report", "."], ["run.json"]),
        (["bundle", "text.onnx", "--data", "good.npz", "-o", "b"], ["text.onnx"]),
        (["export", "no:where", "--data", "good.npz", "-o", "e"], ["no:where", "cannot be built"]),
        (["distill", "no:where", "--data", "digits", "--layers", "1", "-o", "d"], ["no:where"]),
        (["distill", "x", "--data", "digits", "--layers", "1,x", "-o", "d"], ["--layers 1,x", "such as 1,3,5"]),
        (["export", "no:where", "--shape", "x=1xa", "-o", "e"], ["--shape x=1xa", "input_ids=1x128"]),
        (["prune", "nowhere.x", "--data", "digits", "-o", "p"], ["nowhere.x", "no model here"]),
    ],
)
def test_other_commands(command: Command, folder: Path, arguments: list[str], words: list[str]) -> None:
    before = sorted(folder.rglob("*"))
    assert_refused(command(*arguments), *words)
    assert sorted(folder.rglob("*")) == before


def test_no_write_permission(command: Command) -> None:
    place = Path("/sys/edgeopt")  # not even root may write here
    result = command("run", "quickstart", "--out", str(place))
    assert_refused(result, str(place), "no permission")


def test_a_run_folder_that_is_a_file(command: Command) -> None:
    assert_refused(command("run", "quickstart", "--out", "model.onnx"), "model.onnx", "choose another place")


def test_a_data_folder_that_is_not_there(command: Command, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEOPT_DATA", str(folder / "nowhere"))
    assert_refused(command("run", "text-classification"), "EDGEOPT_DATA")
