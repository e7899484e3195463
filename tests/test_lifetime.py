"""Nothing outlives edgeopt: killed in any way while a model hangs, it leaves no process and no temporary folder."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from edgeopt import lifetime

if sys.platform == "win32":
    pytest.skip("signals and process groups are POSIX", allow_module_level=True)

_ENDLESS = """
<ir_version: 8, opset_import: ["": 17]>
endless (float[N, 4] x) => (float[N, 4] y)
<float[4, 4] w = {1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1}, float limit = {LIMIT}, int64 most = {9223372036854775807}>
{
  h = MatMul (x, w)
  largest = ReduceMax <keepdims = 0> (h)
  go = Greater (largest, limit)
  y = Loop <body = once (int64 i, bool on, float[N, 4] seen) => (bool still, float[N, 4] next) {
    still = Identity (on)
    next = Relu (seen)
  }> (most, go, h)
}
"""
_SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGKILL]


def _until(condition: Callable[[], bool], *, seconds: float = 60.0) -> bool:
    """Wait for `condition`; the time in which this process itself was paused does not count."""
    for _ in range(round(seconds / 0.05)):
        if condition():
            return True
        time.sleep(0.05)
    return False


def _marked(mark: str) -> list[tuple[int, str]]:
    """Return id and command line of the processes that were started with `mark` in their environment, zombies left out."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
                found += [(int(folder.name), command)] if command else []
        except OSError:
            continue
    return found


def _endless(folder: Path, *, above: float) -> Path:
    """Write a model that never ends where an input is above a limit."""
    onnx.save(onnx.parser.parse_model(_ENDLESS.replace("LIMIT", str(above))), folder / "endless.onnx")
    return folder / "endless.onnx"


class _Started:
    """An edgeopt of its own, in a folder for temporary files of its own."""

    def __init__(self, arguments: list[str], folder: Path) -> None:
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        self.mark = f"EDGEOPT_TEST_MARK={os.getpid()}-{time.monotonic_ns()}"
        name, value = self.mark.split("=")
        environment = {**os.environ, "TMPDIR": str(self.temporary), name: value}
        command = [sys.executable, "-m", "edgeopt", *arguments]
        self._said = folder / "stderr"
        with self._said.open("wb") as stderr:
            self.process = subprocess.Popen(
                command, env=environment, stdout=subprocess.DEVNULL, stderr=stderr, cwd=folder, start_new_session=True
            )

    def ended_as_asked(self, number: int) -> bool:
        """Return whether it has ended by the signal; an interrupt is answered with a line and its exit code."""
        assert _until(lambda: self.process.poll() is not None), "it did not end"
        code = self.process.wait()
        if number != signal.SIGINT:
            return code != 0
        last = self._said.read_text(encoding="utf-8").splitlines()[-1:]
        return (code, last) == (130, ["edgeopt: stopped; run the same command again to resume"])

    def runs(self, *parts: str) -> bool:
        return any(all(part in command for part in parts) for _, command in _marked(self.mark))

    def left(self) -> list[str]:
        processes = [command for pid, command in _marked(self.mark) if pid != self.process.pid]
        return [
            *processes,
            *(str(path) for path in self.temporary.iterdir() if path.is_dir()),
        ]  # onnxruntime leaves a file .ses

    def end(self) -> None:
        for pid, _ in _marked(self.mark):
            os.kill(pid, signal.SIGKILL)
        self.process.wait()


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are found in /proc")
@pytest.mark.parametrize("number", _SIGNALS)
def test_a_profile_that_hangs_leaves_nothing(number: int, tmp_path: Path) -> None:
    started = _Started(["profile", str(_endless(tmp_path, above=-1e9)), "-t", "host", "-q"], tmp_path)
    try:
        assert _until(lambda: started.runs("measure.py", "cold")), "the cold start never began"
        time.sleep(1.0)  # into the loop
        started.process.send_signal(number)
        assert started.ended_as_asked(number)
        assert _until(lambda: not started.left(), seconds=20), started.left()
    finally:
        started.end()


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are found in /proc")
@pytest.mark.parametrize(
    ("number", "jobs", "where"),
    [(signal.SIGINT, "1", "-m edgeopt"), *((number, "2", "shards import work") for number in _SIGNALS)],
)
def test_calibration_that_hangs_leaves_nothing(number: int, jobs: str, where: str, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    x[4:] += 100.0  # only the later samples run into the loop: calibration itself, not a look at the first sample
    np.savez(tmp_path / "data.npz", x=x)
    arguments = [
        "--calibration",
        str(tmp_path / "data.npz"),
        "-o",
        str(tmp_path / "out.onnx"),
        "-j",
        jobs,
        "--scheme",
        "static",
    ]
    started = _Started(["quantize", str(_endless(tmp_path, above=50.0)), *arguments], tmp_path)
    try:
        assert _until(lambda: started.runs(where)), "calibration never began"
        time.sleep(4.0)  # imports, and into the loop
        assert started.process.poll() is None
        started.process.send_signal(number)
        assert started.ended_as_asked(number)
        assert _until(lambda: not started.left(), seconds=20), started.left()
    finally:
        started.end()


def test_every_temporary_folder_of_the_package_is_announced() -> None:
    """Those beside an output are found by the next run; those among the system's temporary files are not."""
    package = Path(lifetime.__file__).parent
    found = []
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = node.func.attr if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else ""
            if name in ("TemporaryDirectory", "mkdtemp") and not any(key.arg == "dir" for key in node.keywords):
                found.append(f"{path.relative_to(package)}:{node.lineno}")
    assert [place.split(":")[0] for place in found] == ["lifetime.py"], found


def test_an_interrupt_ends_a_call_that_does_not_return(tmp_path: Path) -> None:
    """A library that never gives the interpreter back keeps KeyboardInterrupt from being raised."""
    code = (
        "import ctypes; from edgeopt import lifetime; print('in', flush=True)\n"
        "with lifetime.stop_on_interrupt():\n"
        "    while True: ctypes.PyDLL(None).sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    assert process.stdout is not None
    with process.stdout as lines:
        assert lines.readline() == b"in\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) != 0


def test_an_interrupt_ends_a_call_that_lets_go_of_the_interpreter_with_a_line(tmp_path: Path) -> None:
    """As a model that never ends inside onnxruntime does; it used to be killed without a word."""
    code = (
        "import ctypes; from edgeopt import lifetime\n"
        "with lifetime.stop_on_interrupt('stopped\\n'):\n"
        "    print('in', flush=True)\n"
        "    library, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(64)\n"
        "    while True: library.pthread_mutex_lock(mutex)  # the second time waits for ever, past every signal"
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", code], **pipes, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert process.stdout is not None and process.stderr is not None
    with process.stdout as lines, process.stderr as said:
        assert lines.readline() == b"in\n"
        process.send_signal(signal.SIGINT)
        assert (process.wait(timeout=30), said.read()) == (130, b"stopped\n")


def test_who_answers_an_interrupt_lives_on(tmp_path: Path) -> None:
    """As a program does that calls the command line and catches what it raises."""
    code = (
        "import time; from edgeopt import lifetime\n"
        "try:\n"
        "    with lifetime.stop_on_interrupt(): print('in', flush=True); time.sleep(60)\n"
        "except KeyboardInterrupt: time.sleep(7); print('here', flush=True)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    assert process.stdout is not None
    with process.stdout as lines:
        assert lines.readline() == b"in\n"
        process.send_signal(signal.SIGINT)
        assert (lines.readline(), process.wait(timeout=30)) == (b"here\n", 0)


def test_a_child_ends_with_its_whole_group(tmp_path: Path) -> None:
    script = f"sleep 300 & echo $! > {tmp_path / 'pid'}; wait"
    process = lifetime.start(["sh", "-c", script])
    assert _until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip() != "")
    grandchild = int((tmp_path / "pid").read_text())
    lifetime.end(process, grace_s=0.0)
    assert process.returncode == -signal.SIGKILL
    assert _until(lambda: not Path(f"/proc/{grandchild}").exists() or "Z" in Path(f"/proc/{grandchild}/stat").read_text())


def test_a_command_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        lifetime.run(["sh", "-c", f"sleep 1; sleep 300; touch {tmp_path / 'late'}"], timeout_s=0.3)
    done = lifetime.run(["sh", "-c", "cat; echo wrong >&2; exit 3"], stdin=b"given")
    assert (done.returncode, done.stdout, done.stderr) == (3, "given", "wrong\n")


def test_temporary_folders_go_away_with_a_killed_process(tmp_path: Path) -> None:
    code = (
        "import os, signal; from edgeopt.lifetime import temporary_folder\n"
        "with temporary_folder() as gone: pass\n"
        "with temporary_folder() as kept: (kept / 'file').write_text('x'); print(kept, flush=True); os.kill(os.getpid(), 9)"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == -signal.SIGKILL and done.stdout.startswith(str(tmp_path))
    assert _until(lambda: not list(tmp_path.iterdir())), list(tmp_path.iterdir())
