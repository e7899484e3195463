"""A real sshd on loopback whose sessions belong to a user of its own, where the tests may make one."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from edgeopt.targets.target import Target, load_target

_SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
_CAN = "import numpy, onnxruntime"


@dataclass(frozen=True)
class Account:
    """Who the sessions belong to; `reason` says why it is the user of the tests, None if it is one of its own."""

    name: str
    home: Path
    python: str
    reason: str | None

    @property
    def uid(self) -> int:
        return pwd.getpwnam(self.name).pw_uid

    def processes(self) -> list[str]:
        """Return the command lines of all its processes but sshd's own."""
        return [command for _, command in self.running() if not command.startswith("sshd")]

    def running(self) -> list[tuple[int, str]]:
        """Return id and command line of all its processes."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if folder.stat().st_uid == self.uid:
                    command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
                    found += [(int(folder.name), command)] if command else []
        return found

    def empty(self) -> None:
        for path in self.home.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextmanager
def account() -> Iterator[Account]:
    """Make a system user with a home of its own and remove both; where that is not allowed: the current user, another home."""
    folder = Path(tempfile.mkdtemp(prefix="edgeopt-far-side-"))
    folder.chmod(0o755)
    home = folder / "home"
    home.mkdir(mode=0o700)
    me = pwd.getpwuid(os.geteuid()).pw_name
    name = f"edgeopt-test-{os.getpid()}"
    made = False
    try:
        if os.geteuid() != 0 or not shutil.which("useradd"):
            yield Account(me, home, sys.executable, "only root may make a user")
            return
        command = ["useradd", "--system", "--no-create-home", "--home-dir", str(home), "--shell", "/bin/sh", "-p", "*", name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        made = done.returncode == 0
        if not made:
            yield Account(me, home, sys.executable, f"useradd: {done.stderr.strip()}")
            return
        shutil.chown(home, name)
        python = _python(name, folder)
        own = Account(name, home, python, None) if python else None
        yield own or Account(me, home, sys.executable, "no Python with numpy and onnxruntime that another user may run")
    finally:
        if made:
            subprocess.run(["userdel", name], check=True, capture_output=True)
        shutil.rmtree(folder)


def _python(user: str, folder: Path) -> str | None:
    """Return an interpreter that `user` can run: this one, or the system's own of the same version with our packages."""
    packages = ":".join(sorted({str(Path(module.__file__ or "").parents[1]) for module in (np, ort)}))
    wrapper = folder / "python"
    wrapper.write_text(f'#!/bin/sh\nPYTHONPATH="{packages}" exec /usr/bin/python3.{sys.version_info[1]} "$@"\n')
    wrapper.chmod(0o755)
    for python in (sys.executable, str(wrapper)):
        command = ["runuser", "-u", user, "--", python, "-c", _CAN]
        if subprocess.run(command, capture_output=True, check=False, cwd="/").returncode == 0:
            return python
    return None


@dataclass
class Line:
    """A TCP proxy on loopback; `cut` ends all connections that go through it, `cut_after` after that number of bytes."""

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
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.to))
            except OSError:  # the far side is down
                near.close()
                continue
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


@dataclass
class Machine:
    """The far side: its user, its home, and a line to it that can be cut."""

    account: Account
    home: Path
    target: Target
    line: Line
    server: subprocess.Popen[bytes]

    def with_device(self, **change: Any) -> Target:
        return self.target.model_copy(update={"device": self.target.device.model_copy(update=change)})


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@pytest.fixture
def free_port() -> int:
    return _free_port()


@pytest.fixture(scope="module")
def far_user() -> Iterator[Account]:
    with account() as made:
        yield made


@pytest.fixture
def machine(far_user: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """Start an sshd whose sessions live in `home`; it takes one key and knows no password."""
    monkeypatch.setattr("edgeopt.targets.transports.shell._PAUSE_S", 0.05)
    far_user.empty()
    home, keys = far_user.home, tmp_path / "keys"
    keys.mkdir(mode=0o700)
    for name in ("host", "client"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(keys / name)], check=True)
    allowed = home.parent / "allowed"
    shutil.copyfile(keys / "client.pub", allowed)
    port = _free_port()
    (home.parent / "enter").write_text(f'#!/bin/sh\ncd "{home}" && exec sh -c "$SSH_ORIGINAL_COMMAND"\n')
    (home.parent / "enter").chmod(0o755)
    lines = [
        f"Port {port}",
        "ListenAddress 127.0.0.1",
        f"HostKey {keys / 'host'}",
        f"AuthorizedKeysFile {allowed}",
        f"PidFile {tmp_path / 'pid'}",
        f"AllowUsers {far_user.name}",
        "StrictModes no",
        "UsePAM no",
        "PasswordAuthentication no",
        "PermitRootLogin prohibit-password",
        "MaxStartups 100",
        *([f"ForceCommand {home.parent / 'enter'}"] if far_user.reason else []),
    ]
    (tmp_path / "config").write_text("\n".join(lines) + "\n")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where root's sshd separates its privileges
    log = (tmp_path / "log").open("wb")
    server = subprocess.Popen([_SSHD, "-D", "-e", "-f", str(tmp_path / "config")], stdout=log, stderr=log)
    try:
        _await(port, server, tmp_path / "log")
        line = Line.lay(port)
        yield Machine(far_user, home, _target(far_user, line.port, keys), line, server)
        line.listener.close()
        line.cut()
    finally:
        server.terminate()
        server.wait()
        log.close()
        _end_leftovers(far_user)


def _end_leftovers(user: Account, seconds: int = 20) -> None:
    """Wait for what was started over the line to end, then end what is left, so that the user can be removed.

    That nothing stays behind after a whole profile is a test of its own; here the line may have been cut at any moment.
    """
    for _ in range(20 * seconds):
        if user.reason or not user.processes():
            return
        time.sleep(0.05)
    for pid, command in user.running():
        print(f"still there {seconds} s after the line was cut: {command}", file=sys.stderr)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


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


def _target(user: Account, port: int, keys: Path) -> Target:
    options = ["-F", "/dev/null", "-p", str(port), "-i", str(keys / "client"), "-oIdentitiesOnly=yes"]
    options += ["-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null", "-oLogLevel=ERROR"]
    target = load_target("x86-avx2")
    device = target.device.model_copy(
        update={"transport": "ssh", "host": f"{user.name}@127.0.0.1", "ssh_options": options, "python": user.python}
    )
    return target.model_copy(update={"device": device})
