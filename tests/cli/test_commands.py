"""The commands: help without heavy imports, exit codes, output that scripts read."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import parser

COMMANDS = [
    "run",
    "distill",
    "prune",
    "export",
    "quantize",
    "profile",
    "sweep",
    "scenarios",
    "compare",
    "bundle",
    "verify",
    "report",
    "recipes",
    "targets",
]
MODEL = """
<ir_version: 10, opset_import: ["" : 20]>
small (float[batch, 16] x) => (float[batch, 16] y)
<float[16] b = {1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0}>
{ z = Add(x, b) y = Relu(z) }
"""


def edgeopt(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgeopt", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    onnx.save(parser.parse_model(MODEL), tmp_path / "model.onnx")
    np.savez(tmp_path / "data.npz", x=np.ones((4, 16), np.float32))
    return tmp_path


def test_help_answers_at_once_and_without_heavy_imports() -> None:
    heavy = {"torch", "onnxruntime", "transformers", "onnx", "plotly", "pydantic"}
    code = f"import sys, edgeopt, edgeopt.cli; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert edgeopt("--help").returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    assert seconds < 0.4, f"edgeopt --help took {seconds:.2f} s of processor time"


def test_every_command_has_help() -> None:
    listed = edgeopt("--help").stdout
    for command in COMMANDS:
        assert f"\n  {command} " in listed
        text = edgeopt(command, "--help")
        assert text.returncode == 0
        assert f"edgeopt {command}" in text.stdout


def test_recipes_and_targets_as_json() -> None:
    recipes = json.loads(edgeopt("recipes", "--format", "json").stdout)
    assert "quickstart" in {row["recipe"] for row in recipes}
    targets = {row["target"]: row for row in json.loads(edgeopt("targets", "--format", "json").stdout)}
    assert {"x86-vnni", "x86-avx2", "arm64"} <= set(targets)
    assert {row["here"] for row in targets.values()} <= {"yes", "no"}


def test_a_missed_budget_ends_with_1_and_json_on_stdout(folder: Path) -> None:
    arguments = ("profile", "model.onnx", "--seconds", "1", "--format", "json", "--target", "x86-avx2", "-q", "--budget")
    missed = edgeopt(*arguments, "size_bytes<=10", cwd=folder)
    assert missed.returncode == 1, missed.stderr
    facts = json.loads(missed.stdout)
    assert [budget["verdict"] for budget in facts["budgets"]] == ["fail"]
    met = edgeopt(*arguments, "size_bytes<=100000", cwd=folder)
    assert met.returncode == 0, met.stderr
    assert [budget["verdict"] for budget in json.loads(met.stdout)["budgets"]] == ["pass"]


def test_profiles_are_compared_and_told_to_ci(folder: Path) -> None:
    arguments = ("profile", "model.onnx", "--seconds", "1", "--target", "x86-avx2", "-q", "--format")
    base = edgeopt(*arguments, "json", cwd=folder).stdout
    worse = json.loads(base)
    for variant in worse["variants"]:
        variant["size_bytes"] *= 2
    (folder / "base.json").write_text(base, encoding="utf-8")
    (folder / "worse.json").write_text(json.dumps(worse), encoding="utf-8")
    assert edgeopt("compare", "base.json", "base.json", cwd=folder).returncode == 0
    found = edgeopt("compare", "base.json", "worse.json", "--format", "github", cwd=folder)
    assert found.returncode == 1
    errors = [line for line in found.stdout.splitlines() if line.startswith("::error ")]
    assert len(errors) == 1
    assert "size_bytes" in errors[0]
    xml = edgeopt("compare", "base.json", "worse.json", "--format", "junit", cwd=folder).stdout
    assert xml.count("<failure") == 1
    worse = {**json.loads(base), "device": {**json.loads(base)["device"], "cpu": "another"}}
    (folder / "elsewhere.json").write_text(json.dumps(worse), encoding="utf-8")
    undecided = ("compare", "base.json", "elsewhere.json")
    assert edgeopt(*undecided, cwd=folder).returncode == 0
    failed = edgeopt(*undecided, "--undecided", "fail", cwd=folder)
    assert failed.returncode == 1 and "some figures are undecided, which counts as a failure" in failed.stderr
    assert edgeopt(*undecided, "--undecided", "maybe", cwd=folder).returncode == 2


@pytest.mark.parametrize("name", ["model.onnx", "golden.npz", "bundle.json", "README.md", "example.py"])
def test_a_bundle_verifies_until_a_byte_is_flipped(folder: Path, name: str) -> None:
    made = edgeopt("bundle", "model.onnx", "--data", "data.npz", "-o", "b", cwd=folder)
    assert made.returncode == 0, made.stderr
    assert edgeopt("verify", "b", cwd=folder).returncode == 0
    path = folder / "b" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    damaged = edgeopt("verify", "b", "--format", "json", cwd=folder)
    assert damaged.returncode == 1, damaged.stderr
    assert name in damaged.stdout


def test_an_exception_of_ours_ends_with_3(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import edgeopt.cli

    def broken() -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(edgeopt.cli, "app", broken)
    with pytest.raises(SystemExit) as ended:
        edgeopt.cli.main()
    assert ended.value.code == 3
    text = capsys.readouterr().err
    assert "internal error: ZeroDivisionError: oh" in text
    log = Path(text.rsplit(" ", maxsplit=1)[-1].strip())
    assert "Traceback" in log.read_text(encoding="utf-8")
    log.unlink()


def test_a_wrong_option_ends_with_2() -> None:
    assert edgeopt("run", "--no-such-option").returncode == 2
