"""adb: the real client and server against a daemon that speaks the wire protocol on loopback (there is no phone)."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from edgeopt.errors import MachineError
from edgeopt.profile.config import ProfileConfig
from edgeopt.profile.stage import profile
from edgeopt.targets.availability import available
from edgeopt.targets.requests import Sent, open_variant, time_blocks
from edgeopt.targets.target import Target, load_target
from edgeopt.targets.transports import connect

pytestmark = pytest.mark.skipif(shutil.which("adb") is None, reason="needs adb (Debian: adb)")


@dataclass
class Phone:
    """The daemon, what it may write, and the target that reaches it."""

    daemon: subprocess.Popen[str]
    folder: Path
    target: Target

    def cut(self) -> None:
        self.daemon.send_signal(signal.SIGUSR1)


@pytest.fixture(scope="module")
def adb_server() -> Iterator[None]:
    """Run an adb server of our own, on another port than the user's."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANDROID_ADB_SERVER_PORT", str(port))
        yield
        subprocess.run(["adb", "kill-server"], check=False, capture_output=True)


@pytest.fixture
def phone(adb_server: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Phone]:
    monkeypatch.setattr("edgeopt.targets.transports.shell._PAUSE_S", 0.1)
    command = [sys.executable, str(Path(__file__).parent.parent / "adbd.py")]
    daemon = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert daemon.stdin is not None and daemon.stdout is not None
    folder = tmp_path / "phone"
    folder.mkdir()
    serial = f"127.0.0.1:{int(daemon.stdout.readline())}"
    target = load_target("x86-avx2")
    change = {"transport": "adb", "host": serial, "folder": str(folder), "python": sys.executable}
    target = target.model_copy(update={"device": target.device.model_copy(update=change)})
    yield Phone(daemon, folder, target)
    subprocess.run(["adb", "disconnect", serial], check=False, capture_output=True)
    daemon.stdin.close()
    daemon.wait(timeout=10)
    daemon.stdout.close()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    text = '<ir_version: 8, opset_import: ["": 17]> n (float[N, 64] x) => (float[N, 64] y) { a = MatMul (x, w) y = Tanh (a) }'
    made = onnx.parser.parse_model(text)
    made.graph.initializer.append(onnx.numpy_helper.from_array(np.eye(64, dtype=np.float32), "w"))
    onnx.save(made, tmp_path / "net.onnx", save_as_external_data=True, location="net.onnx.data", size_threshold=0)
    return tmp_path / "net.onnx"


_ROWS = [{"x": np.ones((4, 64), np.float32)}]
_SHORT = ProfileConfig(seconds=1.5, cold_starts=1, operator_runs=3, roofline=False)


def test_a_profile_over_adb_leaves_nothing_behind(phone: Phone, model: Path) -> None:
    found = available(phone.target)
    assert found.ok and "the device is contacted when it is used" in found.notes
    result = profile({"net": model}, _ROWS, target=phone.target, config=_SHORT)
    [variant] = result.variants
    assert variant.n > 20 and variant.latency and variant.peak_rss_bytes
    assert {node.op for node in variant.operators} == {"MatMul", "Tanh"}
    assert list(phone.folder.iterdir()) == []


def test_bytes_arrive_as_they_are_and_come_back(phone: Phone, tmp_path: Path) -> None:
    blob = tmp_path / "blob.bin"
    blob.write_bytes(np.random.default_rng(0).bytes(1_000_000) + b"\r\n\0\x04\xff")
    with connect(phone.target) as there:
        there.fetch(there.send(blob), tmp_path / "back.bin")
    assert (tmp_path / "back.bin").read_bytes() == blob.read_bytes()


def test_the_line_cut_in_mid_run_is_taken_up_again(phone: Phone, model: Path) -> None:
    np.savez(model.parent / "rows.npz", **{"0/x": _ROWS[0]["x"]})
    with connect(phone.target) as there:
        sent = Sent(there.send(model), there.send(model.parent / "rows.npz"), {})
        with there.start() as runner:
            open_variant(runner, "n", sent)
            threading.Timer(0.3, phone.cut).start()
            began = time.monotonic()
            taken = 0
            while time.monotonic() - began < 1.0:
                [[_, samples, _]] = time_blocks(runner, [("n", 0, 200)]).blocks
                taken += len(samples)
            assert getattr(runner, "cuts", 0) >= 1 and taken > 400  # adb may take a moment to notice
    assert list(phone.folder.iterdir()) == []


def test_a_device_that_is_not_there_and_a_missing_adb(phone: Phone, monkeypatch: pytest.MonkeyPatch) -> None:
    for host, says in (("nowhere", "device 'nowhere' not found"), ("127.0.0.1:1", "refused")):
        target = phone.target.model_copy(update={"device": phone.target.device.model_copy(update={"host": host})})
        with pytest.raises(MachineError, match=says) as caught, connect(target):
            pass
        assert "\n" not in str(caught.value)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", os.devnull)
        assert available(phone.target).reasons == ["adb is not installed here (Debian: apt install adb)"]
        with pytest.raises(MachineError, match="needs adb"), connect(phone.target):
            pass
