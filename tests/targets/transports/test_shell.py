"""A device behind a shell command, which here is this machine's own shell: files are sent once, whole, and resumed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from edgeopt.errors import MachineError
from edgeopt.targets.transports import shell
from edgeopt.targets.transports.shell import ShellDevice


class Device(ShellDevice):
    """Runs scripts here; `fail` many of those with "cat" in them fail like a lost connection, after some bytes."""

    fail = 0

    def lost(self, status, said):
        return "closed" in said

    def _run(self, script, **options):
        if script.startswith("cat >>") and self.fail:
            self.fail -= 1
            super()._run(f"head -c 10 {script.removeprefix('cat ')}; echo connection closed >&2; exit 255", **options)
        return super()._run(script, **options)


@pytest.fixture
def device(tmp_path, monkeypatch):
    monkeypatch.setattr(shell, "_PAUSE_S", 0.0)
    return Device(["sh", "-c"], where="board", python="python3", folder=str(tmp_path / "on the device"))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "data.bin"
    path.write_bytes(bytes(range(256)) * 40)
    return path


def test_a_file_arrives_and_is_sent_once(device, file, tmp_path):
    there = device.send(file)
    assert Path(there).read_bytes() == file.read_bytes()
    device.fail = 9  # nothing is copied again
    assert device.send(file) == there
    copy = tmp_path / "back.bin"
    device.fetch(there, copy)
    assert copy.read_bytes() == file.read_bytes()


def test_an_interrupted_copy_resumes(device, file):
    device.fail = 2
    assert Path(device.send(file)).read_bytes() == file.read_bytes()


def test_a_connection_that_is_always_lost_is_an_error(device, file):
    device.fail = 99
    with pytest.raises(MachineError, match="board: connection closed"):
        device.send(file)


def test_external_data_goes_with_the_model(device, tmp_path):
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> g (float[n, 64] x) => (float[n, 64] y) { y = MatMul (x, w) }'
    )
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.eye(64, dtype=np.float32), "w"))
    path = tmp_path / "net.onnx"
    onnx.save(model, path, save_as_external_data=True, location="net.weights", size_threshold=0)
    there = device.send(path)
    assert onnx.load(there).graph.initializer[0].raw_data == np.eye(64, dtype=np.float32).tobytes()


def test_a_script_that_fails_says_its_last_line(device):
    with pytest.raises(MachineError, match="board: no such thing"):
        device._run("echo first >&2; echo no such thing >&2; exit 3")


def test_removing_takes_all_files(device, file, tmp_path):
    device.send(file)
    device.remove()
    assert not (tmp_path / "on the device").exists()


def test_a_shell_that_greets_is_refused_with_what_it_says(device, file):
    device._command = ["sh", "-c", 'echo Welcome; eval "$0"']
    with pytest.raises(MachineError, match=r"its shell prints 'Welcome\\n0' of its own"):
        device.send(file)
