"""`edgeopt chat`, through pipes and on a pseudo-terminal."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path


def test_a_chat_through_pipes_has_a_history(language_model: Path) -> None:
    command = [sys.executable, "-m", "edgeopt", "chat", str(language_model), "--max-tokens", "4"]
    done = subprocess.run(command, input="Hello\n/reset\nAgain\n", capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("tokens of answer") == 2
    assert "the conversation is forgotten" in done.stderr


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
