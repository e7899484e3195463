"""Another machine, played by a real sshd on loopback with a configuration and a home of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

from edgeopt.errors import MachineError, RecipeError
from edgeopt.profile.config import ProfileConfig
from edgeopt.profile.stage import profile
from edgeopt.targets.target import Target, load_target
from edgeopt.targets.transports import connect

_SSHD = shutil.which("sshd") or "/usr/sbin/sshd"

pytestmark = pytest.mark.skipif(
    not (Path(_SSHD).exists() and shutil.which("ssh")), reason="needs OpenSSH's client and server (Debian: openssh-server)"
)


@dataclass
class Machine:
    """The far side: its home, and a line to it that can be cut."""

    home: Path
    target: Target
    line: Line

    def with_device(self, **change: Any) -> Target:
        return self.target.model_copy(update={"device": self.target.device.model_copy(update=change)})


@dataclass
class Line:
    """A TCP proxy on loopback; `cut` ends all connections that go through it, `cut_after` once so many bytes have passed."""

    port: int
    to: int
    listener: socket.socket
    open: list[socket.socket] = field(default_factory=list)
    cut_after: int | None = None
    passed: int = 0
    cuts: int = 0

    @classmethod
    def lay(cls, to: int) -> Line:
        listener = socket.create_server(("127.0.0.1", 0))
        line = cls(listener.getsockname()[1], to, listener)
        threading.Thread(target=line._accept, daemon=True).start()
        return line

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
                far = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                return
            self.open += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                self.passed += len(data)
                sink.sendall(data)
                if self.cut_after is not None and self.passed > self.cut_after:
                    self.cut_after = None
                    self.cut()
        except OSError:
            pass
        for end in (source, sink):
            end.close()

    def cut(self) -> None:
        self.cuts += 1
        for end in self.open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self.open.clear()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """Start an sshd whose sessions live in `home`; it takes one key and knows no password."""
    monkeypatch.setattr("edgeopt.targets.transports.ssh._PAUSE_S", 0.05)
    home, keys = tmp_path / "home", tmp_path / "keys"
    home.mkdir()
    keys.mkdir(mode=0o700)
    for name in ("host", "client"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(keys / name)], check=True)
    port = _free_port()
    (tmp_path / "enter").write_text(f'#!/bin/sh\ncd "{home}" && exec sh -c "$SSH_ORIGINAL_COMMAND"\n')
    (tmp_path / "enter").chmod(0o755)
    lines = [
        f"Port {port}",
        "ListenAddress 127.0.0.1",
        f"HostKey {keys / 'host'}",
        f"AuthorizedKeysFile {keys / 'client.pub'}",
        f"PidFile {tmp_path / 'pid'}",
        f"ForceCommand {tmp_path / 'enter'}",
        "StrictModes no",
        "UsePAM no",
        "PasswordAuthentication no",
        "PermitRootLogin prohibit-password",
        "MaxStartups 100",
    ]
    (tmp_path / "config").write_text("\n".join(lines) + "\n")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where root's sshd separates its privileges
    log = (tmp_path / "log").open("wb")
    server = subprocess.Popen([_SSHD, "-D", "-e", "-f", str(tmp_path / "config")], stdout=log, stderr=log)
    try:
        _await(port, server, tmp_path / "log")
        line = Line.lay(port)
        yield Machine(home, _target(line.port, keys), line)
        line.listener.close()
        line.cut()
    finally:
        server.terminate()
        server.wait()
        log.close()


def _await(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            if server.poll() is not None:
                pytest.skip(f"sshd does not start here: {log.read_text()[-300:]}")
            time.sleep(0.1)
        else:
            return
    pytest.skip("sshd did not listen within 10 s")


def _target(port: int, keys: Path) -> Target:
    options = ["-F", "/dev/null", "-p", str(port), "-i", str(keys / "client"), "-oIdentitiesOnly=yes"]
    options += ["-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null", "-oLogLevel=ERROR"]
    target = load_target("x86-avx2")
    device = target.device.model_copy(
        update={"transport": "ssh", "host": "127.0.0.1", "ssh_options": options, "python": sys.executable}
    )
    return target.model_copy(update={"device": device})


@pytest.fixture
def model(tmp_path: Path) -> Path:
    made = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]>
        net (float[N, 64] x) => (float[N, 64] y) { a = MatMul (x, w) b = Tanh (a) y = MatMul (b, w) }"""
    )
    weights = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    made.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    path = tmp_path / "net.onnx"
    onnx.save(made, path, save_as_external_data=True, location="net.onnx.data", size_threshold=0)
    return path


_ROWS = [{"x": np.ones((4, 64), np.float32)}]
_SHORT = ProfileConfig(seconds=1.5, cold_starts=1, operator_runs=3, roofline=False)


def test_a_profile_over_ssh_leaves_nothing_behind(machine: Machine, model: Path) -> None:
    result = profile({"net": model}, _ROWS, target=machine.target, config=_SHORT)
    [variant] = result.variants
    assert variant.n > 20 and variant.latency and variant.peak_rss_bytes
    assert {node.op for node in variant.operators} == {"MatMul", "Tanh"}
    assert list(machine.home.iterdir()) == []


def test_the_line_cut_in_mid_run_is_taken_up_again(machine: Machine, model: Path) -> None:
    machine.line.cut_after = 120_000  # after everything was sent, while samples come back
    result = profile({"net": model}, _ROWS, target=machine.target, config=_SHORT.model_copy(update={"seconds": 5.0}))
    assert machine.line.cuts == 1
    assert result.variants[0].n > 20 and result.variants[0].operators
    assert list(machine.home.iterdir()) == []


def test_a_copy_that_was_cut_goes_on_where_it_stopped(machine: Machine, tmp_path: Path) -> None:
    big = tmp_path / "big.bin"
    big.write_bytes(np.random.default_rng(0).bytes(6_000_000))
    with connect(machine.with_device(keep=True)) as there:
        machine.line.cut_after = 3_000_000
        path = there.send(big)
    assert machine.line.cuts == 1
    assert (machine.home / path).read_bytes() == big.read_bytes()
    assert machine.line.passed < 9_000_000, "it was sent from the start again"


def test_what_is_kept_is_sent_once(machine: Machine, model: Path) -> None:
    with connect(machine.with_device(keep=True)) as there:
        first = there.send(model)
    sent = machine.line.passed
    with connect(machine.with_device(keep=True)) as there:
        assert there.send(model) == first
    assert (machine.home / first).with_name("net.onnx.data").is_file()
    assert machine.line.passed - sent < sent


def test_a_full_disk_over_there_is_said_and_what_was_half_written_removed(machine: Machine, tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(machine.home)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("may not mount a small file system here")
    try:
        big = tmp_path / "big.bin"
        big.write_bytes(bytes(3_000_000))
        with (
            pytest.raises(MachineError, match=r"the disk is full there; free 3,000,000 bytes"),
            connect(machine.with_device(keep=True)) as there,
        ):
            there.send(big)
        assert [path for path in machine.home.rglob("*") if path.is_file()] == []
    finally:
        subprocess.run(["umount", str(machine.home)], check=True)


def test_a_host_that_does_not_answer(machine: Machine, model: Path) -> None:
    nobody = machine.with_device(ssh_options=["-F", "/dev/null", "-p", str(_free_port())])
    with pytest.raises(MachineError, match=r"127\.0\.0\.1: .*refused"):
        profile({"net": model}, _ROWS, target=nobody, config=_SHORT)


def test_a_python_that_is_not_there(machine: Machine, model: Path) -> None:
    with pytest.raises(MachineError, match="no-such-python"):
        profile({"net": model}, _ROWS, target=machine.with_device(python="no-such-python"), config=_SHORT)
    assert list(machine.home.iterdir()) == []


def test_a_host_must_be_named(machine: Machine) -> None:
    with pytest.raises(RecipeError, match=r"device\.host"), connect(machine.with_device(host=None)):
        pass
