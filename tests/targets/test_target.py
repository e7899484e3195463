"""A target file's fields that reach the command line of another program."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeopt.errors import RecipeError
from edgeopt.targets.target import Device
from edgeopt.targets.transports.ssh import Ssh


@pytest.mark.parametrize(
    "host", ["-oProxyCommand=id", "me@-oProxyCommand=id", "ssh://-oProxyCommand=id", "a b", "a;id", "$(id)", ""]
)
@pytest.mark.parametrize("transport", ["ssh", "adb"])
def test_a_host_that_is_an_option_or_a_command_is_refused(host: str, transport: str) -> None:
    with pytest.raises(RecipeError, match=r"key 'host' is .*give a host name"):
        Device.read({"transport": transport, "host": host}, where="target.toml")


@pytest.mark.parametrize(
    "host",
    ["board", "pi@board.local", "ssh://me@10.0.0.2:2222", "::1", "fe80::1%eth0", "emulator-5554", "10.0.0.3:5555", "_x._tcp"],
)
def test_hosts_of_every_usual_form_are_taken(host: str) -> None:
    assert Device.read({"transport": "ssh", "host": host}, where="target.toml").host == host


def test_a_folder_over_there_is_no_option() -> None:
    with pytest.raises(RecipeError, match="must not begin with '-'"):
        Device.read({"transport": "ssh", "host": "board", "folder": "-rf"}, where="target.toml")


def test_options_of_ssh_end_before_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    class Done:
        returncode, stdout, stderr = 0, "", ""

    monkeypatch.setattr("edgeopt.lifetime.run", lambda command, **_: commands.append(command) or Done())
    machine = Ssh(Device(transport="ssh", ssh_options=["-p", "2222"]), "-oProxyCommand=id", folder="x", control=tmp_path)
    machine.remove()
    machine.hang_up()
    assert len(commands) == 2
    for command in commands:
        assert command[command.index("--") + 1] == "-oProxyCommand=id" and command.count("-oProxyCommand=id") == 1


@pytest.mark.parametrize(
    "values", [{"folder": "a\0b"}, {"python": "\0"}, {"ssh_options": ["-p", "\0"]}, {"launcher": ["\0"]}, {"npm": ["a\0"]}]
)
def test_text_that_no_command_line_holds_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(RecipeError, match=f"key '{next(iter(values))}' is .*holds a NUL character"):
        Device.read({"transport": "ssh", "host": "board", **values}, where="target.toml")
