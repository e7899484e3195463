"""Another machine, played by a real sshd on loopback with a configuration, a user and a home of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

from edgeopt.errors import MachineError, RecipeError
from edgeopt.profile.config import ProfileConfig
from edgeopt.profile.stage import profile
from edgeopt.targets.transports import connect

_SSHD = shutil.which("sshd") or "/usr/sbin/sshd"

pytestmark = pytest.mark.skipif(
    not (Path(_SSHD).exists() and shutil.which("ssh")), reason="needs OpenSSH's client and server (Debian: openssh-server)"
)


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


def test_a_profile_over_ssh_leaves_nothing_behind(machine: Any, model: Path) -> None:
    before = set(Path("/tmp").iterdir())  # a user of an earlier run, killed in its middle, may have had the same number
    result = profile({"net": model}, _ROWS, target=machine.target, config=_SHORT)
    [variant] = result.variants
    assert variant.n > 20 and variant.latency and variant.peak_rss_bytes
    assert {node.op for node in variant.operators} == {"MatMul", "Tanh"}
    assert list(machine.home.iterdir()) == []
    if machine.account.reason is None:  # whatever belongs to that user was put there by us
        assert machine.account.processes() == []
        left = set(Path("/tmp").iterdir()) - before
        assert [path for path in left if path.lstat().st_uid == machine.account.uid] == []


def test_the_line_cut_in_mid_run_is_taken_up_again(machine: Any, model: Path) -> None:
    machine.line.cut_after = 120_000  # after everything was sent, while samples come back
    result = profile({"net": model}, _ROWS, target=machine.target, config=_SHORT.model_copy(update={"seconds": 5.0}))
    assert machine.line.cuts == 1
    assert result.variants[0].n > 20 and result.variants[0].operators
    assert list(machine.home.iterdir()) == []


def test_a_copy_that_was_cut_goes_on_where_it_stopped(machine: Any, tmp_path: Path) -> None:
    big = tmp_path / "big.bin"
    big.write_bytes(np.random.default_rng(0).bytes(6_000_000))
    with connect(machine.with_device(keep=True)) as there:
        machine.line.cut_after = 3_000_000
        path = there.send(big)
    assert machine.line.cuts == 1
    assert (machine.home / path).read_bytes() == big.read_bytes()
    assert machine.line.passed < 9_000_000, "it was sent from the start again"


def test_what_is_kept_is_sent_once(machine: Any, model: Path) -> None:
    with connect(machine.with_device(keep=True)) as there:
        first = there.send(model)
    sent = machine.line.passed
    with connect(machine.with_device(keep=True)) as there:
        assert there.send(model) == first
    assert (machine.home / first).with_name("net.onnx.data").is_file()
    assert machine.line.passed - sent < sent


@contextmanager
def _small_disk(machine: Any, size: str) -> Iterator[None]:
    options = f"size={size},mode=700,uid={machine.account.uid}"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(machine.home)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("may not mount a small file system here")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(machine.home)], check=True)


def test_a_full_disk_over_there_is_said_and_what_was_half_written_removed(machine: Any, tmp_path: Path) -> None:
    big = tmp_path / "big.bin"
    big.write_bytes(bytes(3_000_000))
    with _small_disk(machine, "1m"):
        with (
            pytest.raises(MachineError, match=r"the disk is full; free 3,000,000 bytes"),
            connect(machine.with_device(keep=True)) as there,
        ):
            there.send(big)
        assert [path for path in machine.home.rglob("*") if path.is_file()] == []


def test_a_profile_on_a_full_disk_ends_in_one_line_and_leaves_nothing(machine: Any, model: Path) -> None:
    with _small_disk(machine, "8k"):
        with pytest.raises(
            MachineError, match=r"^edgeopt-\S+@127\.0\.0\.1: the disk is full; free [0-9,]+ bytes$|^\S+: the disk is full"
        ):
            profile({"net": model}, _ROWS, target=machine.target, config=_SHORT)
        assert list(machine.home.iterdir()) == []


def test_sessions_belong_to_a_user_of_their_own(machine: Any) -> None:
    if machine.account.reason:
        pytest.skip(machine.account.reason)
    with connect(machine.with_device(keep=True)) as there:
        path = there.send(Path(__file__))
        assert (machine.home / path).stat().st_uid == machine.account.uid != os.geteuid()


def test_a_machine_that_goes_down_for_good_is_said_in_one_line(machine: Any, model: Path) -> None:
    with connect(machine.target) as there:
        sent, rows = there.send(model), there.send(_rows(model.parent))
        with there.start() as runner:
            runner.ask({"do": "open", "name": "n", "model": sent, "inputs": rows})
            machine.server.terminate()
            machine.server.wait()
            machine.line.cut()
            with pytest.raises(MachineError) as caught:
                runner.ask({"do": "sample", "blocks": [["n", 0, 3]]})
    assert "the runner exited unexpectedly" in str(caught.value) and "\n" not in str(caught.value)


def _rows(folder: Path) -> Path:
    np.savez(folder / "rows.npz", **{"0/x": _ROWS[0]["x"]})
    return folder / "rows.npz"


def test_a_host_that_does_not_answer(machine: Any, model: Path, free_port: int) -> None:
    closed = machine.with_device(host="127.0.0.1", ssh_options=["-F", "/dev/null", "-p", str(free_port)])
    with pytest.raises(MachineError, match=r"127\.0\.0\.1: .*refused"):
        profile({"net": model}, _ROWS, target=closed, config=_SHORT)


def test_a_python_that_is_not_there(machine: Any, model: Path) -> None:
    with pytest.raises(MachineError, match="no-such-python"):
        profile({"net": model}, _ROWS, target=machine.with_device(python="no-such-python"), config=_SHORT)
    assert list(machine.home.iterdir()) == []


def test_a_host_must_be_named(machine: Any) -> None:
    with pytest.raises(RecipeError, match=r"device\.host"), connect(machine.with_device(host=None)):
        pass
