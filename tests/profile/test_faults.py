"""What goes wrong on a device, seen from `profile`: one line each, with what and where."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

from edgeopt.errors import EdgeoptError, MachineError, ModelError
from edgeopt.profile.config import ProfileConfig
from edgeopt.profile.stage import profile
from edgeopt.targets.runner import ProcessRunner
from edgeopt.targets.target import Target, load_target

_ROWS = [{"x": np.ones((2, 4), np.float32)}]
_SHORT = ProfileConfig(seconds=5.0, cold_starts=1, operator_runs=0, roofline=False)


def _target(**provider: Any) -> Target:
    target = load_target("x86-avx2")
    device = target.device.model_copy(update={"machine": [], "cpu_flags": []})
    return target.model_copy(update={"device": device, "provider": target.provider.model_copy(update=provider)})


def _model(path: Path, text: str = "y = Tanh (x)", domain: str = "") -> Path:
    head = f'<ir_version: 8, opset_import: ["": 17{domain}]> n (float[N, 4] x) => (float[N, 4] y)'
    onnx.save(onnx.parser.parse_model(f"{head} {{ {text} }}"), path)
    return path


def _fails(run: Callable[[], object], kind: type[EdgeoptError]) -> str:
    with pytest.raises(kind) as caught:
        run()
    message = str(caught.value)
    assert "\n" not in message and len(message) < 500
    return message


def test_a_runner_that_is_killed_in_mid_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ProcessRunner.ask

    def killed_at_the_second_sample(self: ProcessRunner, request: Mapping[str, Any], *, timeout_s: float = 600.0) -> Any:
        seen.append(request["do"])
        if seen.count("sample") == 2:
            os.kill(self._process.pid, signal.SIGKILL)
        return whole(self, request, timeout_s=timeout_s)

    seen: list[str] = []
    monkeypatch.setattr(ProcessRunner, "ask", killed_at_the_second_sample)
    model = _model(tmp_path / "m.onnx")
    said = _fails(lambda: profile({"m": model}, _ROWS, target=_target(), config=_SHORT), MachineError)
    assert said.startswith("this machine: the runner exited unexpectedly") and "exit status -9" in said


def test_a_model_that_does_not_load(tmp_path: Path) -> None:
    path = _model(tmp_path / "strange.onnx", "y = other.Strange (x)", ', "other": 1')
    said = _fails(lambda: profile({"m": path}, _ROWS, target=_target(), config=_SHORT), ModelError)
    assert "strange.onnx" in said and "cannot load it" in said and "Strange" in said


def test_a_model_that_fails_while_it_runs(tmp_path: Path) -> None:
    path = _model(tmp_path / "torn.onnx", "s = Constant <value_ints = [3]> () r = Reshape (x, s) y = Expand (r, s)")
    said = _fails(lambda: profile({"m": path}, _ROWS, target=_target(), config=_SHORT), ModelError)
    assert "torn.onnx" in said and "cannot run it" in said


@pytest.mark.parametrize("name", ["CUDAExecutionProvider", "TensorrtExecutionProvider"])
def test_a_provider_that_is_not_there(name: str, tmp_path: Path) -> None:
    model = _model(tmp_path / "m.onnx")
    said = _fails(lambda: profile({"m": model}, _ROWS, target=_target(name=name), config=_SHORT), MachineError)
    assert f"{name} is not in onnxruntime" in said and "CPUExecutionProvider" in said
