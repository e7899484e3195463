"""Node as a device, for real where it and onnxruntime-node are installed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

from edgeopt.errors import MachineError, ModelError
from edgeopt.profile.config import ProfileConfig
from edgeopt.profile.measurement import cold_start
from edgeopt.profile.stage import profile
from edgeopt.targets.availability import available
from edgeopt.targets.requests import Sent, greet
from edgeopt.targets.runner import ConnectionLost
from edgeopt.targets.target import Target, load_target
from edgeopt.targets.transports import connect


@pytest.fixture
def target() -> Target:
    target = load_target("node-cpu")
    found = available(target)
    if not found.ok:
        pytest.skip("; ".join(found.reasons))
    return target


@pytest.fixture
def model(tmp_path: Path) -> Path:
    text = """<ir_version: 8, opset_import: ["": 17]> n (float[N, 64] x, int64 k) => (float[N, 64] y)
    { c = Cast <to = 1> (k) s = Mul (x, c) y = MatMul (s, w) }"""
    made = onnx.parser.parse_model(text)
    made.graph.initializer.append(onnx.numpy_helper.from_array(np.eye(64, dtype=np.float32), "w"))
    onnx.save(made, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    return tmp_path / "m.onnx"


_ROWS: list[dict[str, Any]] = [{"x": np.ones((size, 64), np.float32), "k": np.array(2)} for size in (1, 3)]


@pytest.mark.slow
def test_a_profile_through_node(target: Target, model: Path) -> None:
    ballast = bytearray(300_000_000)  # its peak must not be counted as the model's
    ballast[::4096] = b"x" * len(ballast[::4096])
    options = ProfileConfig(seconds=2.0, cold_starts=1, budget=["p50_ms<=1000"])
    result = profile({"one": model, "two": model}, _ROWS, target=target, config=options)
    del ballast
    one, _ = result.variants
    assert result.provider == "cpu" and result.versions["onnxruntime"].startswith("node 1.") and result.batches == 2
    assert one.n > 50 and one.latency and one.macs == 64 * 64 and result.verdict == "pass"
    assert one.peak_rss_bytes and one.model_rss_bytes is not None and one.peak_rss_bytes < 250_000_000
    assert [point.label for point in one.memory_timeline[:3]] == ["before load", "loaded", "first run"]
    assert result.conditions and result.conditions.others_cores is not None
    assert json.dumps(result.facts(), allow_nan=False)


@pytest.mark.slow
def test_what_goes_wrong_in_node_is_one_line(target: Target, model: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", **{"0/x": np.ones((1, 64), np.float32), "0/k": np.array(2)})
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    ask = {"do": "open", "name": "m", "inputs": str(tmp_path / "in.npz")}
    with connect(target) as node, node.start() as runner:
        with pytest.raises(ModelError, match="cannot load it") as broken:
            runner.ask({**ask, "model": str(tmp_path / "broken.onnx"), "session": {"provider": "cpu"}})
        with pytest.raises(MachineError, match="provider abacus is not in onnxruntime-node here; it has: cpu") as missing:
            runner.ask({**ask, "model": str(model), "session": {"provider": "abacus"}})
        assert "\n" not in str(broken.value) + str(missing.value)
        os.kill(runner._process.pid, 9)  # type: ignore[attr-defined]
        with pytest.raises(ConnectionLost, match="exited unexpectedly"):
            runner.ask({"do": "state"})


@pytest.mark.slow
def test_a_cold_start_that_does_not_end_is_ended(target: Target, tmp_path: Path) -> None:
    endless = """<ir_version: 8, opset_import: ["": 17]>
    endless (float[1] x) => (float[1] y) <int64 most = {9223372036854775807}, bool go = {1}> {
      y = Loop <body = once (int64 i, bool on, float[1] seen) => (bool still, float[1] next) {
        still = Identity (on)
        next = Relu (seen)
      }> (most, go, x)
    }"""
    onnx.save(onnx.parser.parse_model(endless), tmp_path / "endless.onnx")
    np.savez(tmp_path / "in.npz", **{"0/x": np.ones(1, np.float32)})
    sent = Sent(str(tmp_path / "endless.onnx"), str(tmp_path / "in.npz"), {"provider": "cpu"})
    with connect(target) as node, node.start() as runner:
        with pytest.raises(ModelError, match="did not end within 3 s"):
            cold_start(runner, sent, limit_s=3.0)
        assert greet(runner, where="here").protocol == 1


def test_without_node_or_its_package_the_target_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    no_node, not_made = available(load_target("node-cpu")).reasons
    assert no_node == "Node is not installed here" and "edgeopt targets install node-cpu" in not_made
    with pytest.raises(MachineError, match="needs Node"), connect(load_target("node-cpu")):
        pass
