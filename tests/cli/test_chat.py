"""`edgeopt chat`: with a conversation that follows a script, with a model, and on a pseudo-terminal."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from typer.testing import CliRunner

from edgeopt.cli.app import app
from edgeopt.cli.chat import _read
from edgeopt.errors import RecipeError


class Scripted:
    """A conversation that answers from a script: each answer is a list of pieces, or of one exception at its end."""

    made: ClassVar[list[Scripted]]
    answers: ClassVar[list[list[str | BaseException]]]

    def __init__(self, engine: object, options: object, *, system: str | None) -> None:
        self.engine, self.options, self.system = engine, options, system
        self.asked: list[str] = []
        self.resets = self.interrupts = 0
        self.answered = None
        self.made.append(self)

    def ask(self, text: str) -> Iterator[str]:
        self.asked.append(text)
        for piece in self.answers.pop(0):
            if isinstance(piece, BaseException):
                raise piece
            yield piece

    def reset(self) -> None:
        self.resets += 1

    def interrupted(self) -> None:
        self.interrupts += 1


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> type[Scripted]:
    """The class of the conversation that the command has."""

    class Fresh(Scripted):
        made: ClassVar = []
        answers: ClassVar = []

    monkeypatch.setattr("edgeopt.generate.conversation.Conversation", Fresh)
    monkeypatch.setattr("edgeopt.generate.opening.open_engine", lambda model, **options: (str(model), options))
    return Fresh


def chat(lines: str, *options: str) -> Any:
    done = CliRunner().invoke(app, ["chat", "folder", *options], input=lines)
    assert done.exception is None, done.exception
    return done


def test_lines_are_asked_until_the_chat_is_left(scripted: type[Scripted]) -> None:
    scripted.answers = [["Hi", " there"], ["Yes"]]
    done = chat("Hello\n\n   \n/reset\nAgain\n /exit \nnot read\n", "--system", "Be short", "--threads", "2")
    (conversation,) = scripted.made
    assert (conversation.asked, conversation.resets) == (["Hello", "Again"], 1)
    assert (conversation.engine, conversation.system) == (("folder", {"threads": 2, "template": None}), "Be short")
    assert done.stdout == "Hi there\nYes\n"
    assert done.stderr == "the conversation is forgotten\n", "through a pipe no help is printed"


def test_the_chat_ends_with_its_input(scripted: type[Scripted]) -> None:
    scripted.answers = [["Hi"]]
    assert chat("Hello").stdout == "Hi\n"
    assert chat("").stdout == ""


def test_an_interrupted_reply_is_marked_and_the_chat_goes_on(scripted: type[Scripted]) -> None:
    scripted.answers = [["Once", KeyboardInterrupt()], ["Yes"]]
    done = chat("Tell\nAnd\n")
    (conversation,) = scripted.made
    assert done.stdout == "Once …\nYes\n"
    assert (conversation.interrupts, conversation.asked) == (1, ["Tell", "And"])


def test_a_message_that_is_too_long_is_one_line_and_the_chat_goes_on(scripted: type[Scripted]) -> None:
    scripted.answers = [[RecipeError("the context is full")], ["Yes"]]
    done = chat("Tell\nAnd\n")
    assert (done.stdout, done.stderr) == ("Yes\n", "edgeopt: the context is full\n")


def test_what_a_model_writes_does_not_drive_the_terminal(scripted: type[Scripted]) -> None:
    scripted.answers = [["a\tb\n", "\x1b[2J"]]
    assert "\x1b" not in chat("Tell\n").stdout


@pytest.mark.parametrize("terminal", [True, False])
def test_the_prompt_is_for_terminals(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    prompts: list[str] = []
    monkeypatch.setattr("builtins.input", lambda prompt: prompts.append(prompt) or "Hello")
    assert _read(terminal=terminal) == "Hello"
    assert prompts == ["> " if terminal else ""]


@pytest.mark.parametrize("end", [EOFError, KeyboardInterrupt])
def test_the_end_of_the_input_and_ctrl_c_between_replies_leave(monkeypatch: pytest.MonkeyPatch, end: type) -> None:
    def stop(prompt: str) -> str:
        raise end

    monkeypatch.setattr("builtins.input", stop)
    assert _read(terminal=True) is None


def test_a_model_answers_with_its_speed_and_keeps_the_history(language_model: Path) -> None:
    """The model itself, not a script."""
    done = CliRunner().invoke(app, ["chat", str(language_model), "--max-tokens", "4"], input="Hello\nAnd\n/reset\nHello\n")
    assert done.exit_code == 0, done.output
    spoken = [line for line in done.stderr.splitlines() if "tokens of answer" in line]
    assert len(spoken) == 3
    first, second, third = (int(line.split(" ", 1)[0]) for line in spoken)
    assert first == third < second, "the second prompt holds the first reply, that after a reset does not"
    assert "from the cache" not in spoken[0]
    assert "from the cache" in spoken[1]


def test_ctrl_c_stops_a_reply_and_not_the_chat(language_model: Path) -> None:
    """On a pseudo-terminal, where a user types."""
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "edgeopt", "chat", str(language_model), "--max-tokens", "400", "--set", "ignore_eos=true"]
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, close_fds=True)
    os.close(slave)
    try:
        _wait_for(master, b"> ")
        os.write(master, b"Hello\n")
        _wait_for(master, b"Hello\r\n")
        os.read(master, 1)  # the reply has begun
        process.send_signal(signal.SIGINT)
        _wait_for(master, b"tokens of answer")
        _wait_for(master, b"> ")
        os.write(master, b"/exit\n")
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(master)


def _wait_for(terminal: int, wanted: bytes, limit_s: float = 60.0) -> None:
    seen, end = b"", time.monotonic() + limit_s
    while wanted not in seen:
        assert time.monotonic() < end, f"{wanted!r} did not come: {seen!r}"
        seen += os.read(terminal, 1)
