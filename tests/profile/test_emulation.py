"""Emulators: no times, and outputs compared with this machine's."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

from edgeopt.cli.profile_tables import show_profile
from edgeopt.errors import MachineError, ModelError
from edgeopt.profile import emulation
from edgeopt.profile.config import ProfileConfig
from edgeopt.profile.emulation import compare_outputs
from edgeopt.profile.result import Numerics
from edgeopt.profile.stage import profile
from edgeopt.targets.availability import available
from edgeopt.targets.target import Target, load_target

_NET = """
<ir_version: 8, opset_import: ["": 17]>
net (float[8, 16] x) => (float[8, 4] y) {
  q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z) dw = DequantizeLinear (w, ws)
  [mul] m = MatMul (d, dw) mq = QuantizeLinear (m, s, z) y = DequantizeLinear (mq, s, z)
}
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    made = onnx.parser.parse_model(_NET)
    rng = np.random.default_rng(0)
    values: dict[str, Any] = {
        "s": np.float32(0.05),
        "z": np.uint8(128),
        "ws": np.float32(0.02),
        "w": rng.integers(-100, 100, (16, 4)).astype(np.int8),
    }
    made.graph.initializer.extend(onnx.numpy_helper.from_array(np.array(value), name) for name, value in values.items())
    onnx.save(made, tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


_ROWS = [{"x": np.random.default_rng(1).normal(size=(8, 16)).astype(np.float32)}]


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_outputs_that_are_no_numbers_are_an_infinite_error(broken: float) -> None:
    expected = {"0/y": np.ones((2, 3), np.float32)}
    found = compare_outputs({"0/y": np.array([[1, 1, broken], [1, 1, 1]], np.float32)}, expected)
    assert found.max_abs_error == float("inf")
    assert compare_outputs({"0/y": np.array([[1, 1, 1], [1, 1, 1.5]], np.float32)}, expected).max_abs_error == 0.5


@pytest.mark.parametrize("got", [{}, {"0/y": np.ones((2, 4), np.float32)}])
def test_outputs_that_are_missing_are_named(got: dict[str, Any]) -> None:
    with pytest.raises(MachineError, match="lacks output 'y'"):
        compare_outputs(got, {"0/y": np.ones((2, 3), np.float32)})


_BUDGETS = ProfileConfig(budget=["p95_ms<=1000", "size_mb<=1", "int8_macs_share>=0.9", "peak_rss_mb<=500"])


def _pretended() -> Target:
    """This machine, called an emulator."""
    target = load_target("x86-avx2")
    device = target.device.model_copy(update={"emulated": True, "machine": [], "cpu_flags": [], "launcher": ["/usr/bin/env"]})
    return target.model_copy(update={"device": device})


def test_an_emulator_yields_no_time_and_no_memory(model: Path) -> None:
    result = profile({"net": model}, _ROWS, target=_pretended(), config=_BUDGETS)
    [variant] = result.variants
    assert result.emulated and result.conditions is None and result.comparisons == []
    assert (variant.n, variant.latency, variant.load_ms, variant.peak_rss_bytes, variant.operators) == (0, [], None, None, [])
    assert variant.macs == 8 * 16 * 4 and variant.int8_macs_share == 1.0
    assert variant.numerics is not None and variant.numerics.max_abs_error == 0 and variant.numerics.argmax_agreement == 1
    assert [judged.verdict for judged in result.budgets] == ["undecided", "pass", "pass", "undecided"]
    assert result.budgets[0].reason == "an emulator's times mean nothing"
    assert result.warnings[0].startswith("an emulator")


def test_a_model_that_does_not_run_there_leaves_the_others(model: Path, tmp_path: Path) -> None:
    """A floating-point model fails on an NPU that takes integers only; here it reads beyond the end of a table."""
    text = """<ir_version: 8, opset_import: ["": 17]>
    bad (float[8, 16] x) => (float[8, 16] y) <int64[1] far = {99}> { s = Size (x) f = Add (s, far) y = Gather (x, f) }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "bad.onnx")
    config = ProfileConfig(budget=["size_mb<=1", "bad: size_mb<=1", "p95_ms<=9"])
    models = {"bad": tmp_path / "bad.onnx", "net": model, "again": model}
    result = profile(models, _ROWS, target=_pretended(), config=config)
    assert [variant.name for variant in result.variants] == ["net", "again"]
    assert result.warnings[0].startswith("bad does not run on x86-avx2 and is left out: ") and "Gather" in result.warnings[0]
    answers = {(judged.variant, judged.expression): judged.verdict for judged in result.budgets}
    assert answers["net", "size_mb<=1"] == answers["again", "size_mb<=1"] == "pass"
    assert answers["bad", "bad: size_mb<=1"] == "undecided"
    with pytest.raises(ModelError, match="Gather"):
        profile({"bad": tmp_path / "bad.onnx", "worse": tmp_path / "bad.onnx"}, _ROWS, target=_pretended())


def test_the_table_of_an_emulator_has_what_it_tells(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show_profile(profile({"net": model}, _ROWS, target=_pretended()), markdown=False, given=False)
    head, row, inputs, *_ = capsys.readouterr().out.splitlines()
    assert "p50" not in head and "too few runs" not in row
    assert re.split(r"  +", row.strip()) == [
        "net", "not measured (emulator)", "0.00e+00 of the largest output", "100.0 %", "1", "0.0 %", "100.0 %", "0.000"
    ]  # fmt: skip
    assert inputs == "random inputs: x float32 [8, 16]; give real ones with --data"


_COUNTING = """#!{python}
import re, subprocess, sys
mode = "--count" in sys.argv
command = [part for part in sys.argv[1:] if part != "--count"]
line = sys.stdin.read() if mode else None
status = subprocess.run(command, input=line, text=True).returncode
if mode:
    runs = int(re.search(r'"runs": (\\d+)', line)[1])
    print("cpu 0 insns: 1\\ntotal insns: " + str(900_000_000 + {each} * runs + runs % 4), file=sys.stderr)
sys.exit(status)
"""


def test_instructions_are_those_that_more_runs_add(model: Path, tmp_path: Path) -> None:
    emulator = tmp_path / "emulator"
    emulator.write_text(_COUNTING.format(python=sys.executable, each=12_345))
    emulator.chmod(0o755)
    target = _pretended()
    counting = {"launcher": [str(emulator)], "counting_launcher": [str(emulator), "--count"]}
    target = target.model_copy(update={"device": target.device.model_copy(update=counting)})
    counted = ProfileConfig(instruction_runs=4)
    [variant] = profile({"net": model}, _ROWS, target=target, config=counted).variants
    assert variant.instructions == 12_345
    lacking = {"counting_launcher": ["/nowhere/qemu"], "counting_setup": "emulators/qemu-plugins.sh"}
    target = target.model_copy(update={"device": target.device.model_copy(update=lacking)})
    result = profile({"net": model}, _ROWS, target=target, config=counted)
    assert result.variants[0].instructions is None
    [why] = [warning for warning in result.warnings if "no instruction counts" in warning]
    assert "there is no /nowhere/qemu; make it: sh " in why and why.endswith("deploy/emulators/qemu-plugins.sh")


def test_outputs_are_compared_by_name_and_row() -> None:
    expected = {"0/y": np.array([[1.0, 2.0], [4.0, 3.0]]), "1/y": np.array([[0.0, -4.0]])}
    got = {"0/y": np.array([[1.0, 2.5], [3.0, 3.5]]), "1/y": np.array([[0.0, -4.0]])}
    found = compare_outputs(got, expected)
    assert (found.max_abs_error, found.relative_error) == (1.0, 0.25)
    assert found.argmax_agreement == pytest.approx(2 / 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["qnn-htp-emulated", "openvino-cpu", "arm64-emulated"])
def test_for_real_where_it_is_installed(name: str, model: Path) -> None:
    target = load_target(name)
    found = available(target)
    if not found.ok:
        pytest.skip("; ".join(found.reasons))
    result = profile({"net": model}, _ROWS, target=target, config=_BUDGETS.model_copy(update={"seconds": 2.0}))
    [variant] = result.variants
    assert result.emulated == target.device.emulated
    assert variant.placement is not None and variant.placement.cpu_fallback_share == 0
    if target.device.emulated:
        step = 0.05  # one quantization step of the output
        assert variant.numerics is not None and variant.numerics.max_abs_error <= step + 1e-6 and variant.n == 0
    else:
        assert variant.n > 10 and variant.latency


def test_an_error_where_the_cpus_outputs_are_all_zero_is_not_nothing() -> None:
    found = compare_outputs({"0/y": np.ones((1, 3))}, {"0/y": np.zeros((1, 3))})
    assert (found.max_abs_error, found.relative_error) == (1.0, float("inf"))
    same = compare_outputs({"0/y": np.zeros((1, 3))}, {"0/y": np.zeros((1, 3))})
    assert (same.max_abs_error, same.relative_error) == (0.0, 0.0)


def test_texts_are_equal_or_an_infinite_error() -> None:
    expected = {"0/label": np.array(["cat"]), "0/y": np.ones((1, 2))}
    assert compare_outputs(expected, expected).relative_error == 0.0
    assert compare_outputs({**expected, "0/label": np.array(["dog"])}, expected).relative_error == float("inf")


def test_outputs_that_are_not_finite_are_told_and_can_be_written(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(emulation, "compare_outputs", lambda *_: Numerics("CPU", float("inf"), float("inf"), None))
    found = profile({"net": model}, _ROWS, target=_pretended())
    json.dumps(found.facts(), allow_nan=False)
    show_profile(found, markdown=False, given=False)
    told = capsys.readouterr()
    assert "not finite" in told.out and "net: its outputs hold NaN, infinities or texts" in told.err
