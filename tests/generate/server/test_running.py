"""The server as a process: its address, a graceful end, a port that is taken."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from edgeopt.errors import MachineError
from edgeopt.generate.server.config import ServeConfig
from edgeopt.generate.server.running import listen


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_process_serves_and_ends_when_told(portable: Path, how: signal.Signals) -> None:
    command = [sys.executable, "-m", "edgeopt", "serve", str(portable), "--port", "0", "--threads", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        address = next(word for word in line.split() if word.startswith("http://127.0.0.1:"))
        body = json.dumps({"prompt": "Once upon", "max_tokens": 3}).encode()
        with urlopen(Request(f"{address}/v1/completions", body, {"Content-Type": "application/json"})) as answer:
            assert json.load(answer)["usage"]["completion_tokens"] <= 3
        process.send_signal(how)
        _, said = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in said
    assert process.returncode in (0, 130, -how)


def test_a_port_that_is_taken_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(MachineError, match=f"127.0.0.1:{port}: cannot listen there: .*; give another --port"):
            listen(ServeConfig(port=port))
