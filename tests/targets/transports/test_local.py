"""This machine as a device: files stay where they are; a target's own interpreter and launcher are used."""

from __future__ import annotations

import sys
from pathlib import Path

from edgeopt.targets.requests import greet
from edgeopt.targets.target import Device, Target, load_target
from edgeopt.targets.transports.local import command_of, connect, this_machine


def changed(**device: object) -> Target:
    target = load_target("host")
    return target.model_copy(update={"device": Device.model_validate(device)})


def test_files_are_there_already(tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(b"x")
    here = this_machine()
    assert here.send(file) == str(file.resolve())
    here.fetch(str(file), tmp_path / "b.bin")
    assert (tmp_path / "b.bin").read_bytes() == b"x"


def test_this_interpreter_is_used_unless_the_target_names_another() -> None:
    assert command_of(changed()) == ([], sys.executable)
    launcher, python = command_of(changed(python="~/env/bin/python", launcher=["qemu", "~/root"]))
    assert python == str(Path("~/env/bin/python").expanduser())
    assert launcher == ["qemu", str(Path("~/root").expanduser())]


def test_where_it_runs_is_said() -> None:
    with connect(changed()) as here:
        assert here.where == "this machine"
    with connect(changed(python="/opt/python", launcher=["qemu"])) as other:
        assert other.where == "this machine (qemu /opt/python)"


def test_the_runner_answers() -> None:
    with this_machine().start() as runner:
        assert "CPUExecutionProvider" in greet(runner, where="here").providers
