"""Instructions of one run, counted by an emulator: the only cost that emulator and device have in common.

Idea. QEMU's plug-in `insn` prints how many instructions a whole process executed: interpreter, loading and runs together. So
the process is run with n, n + k and n + 2k runs of the model; what the extra runs added, divided by their number, is the
model's. The two differences must agree; otherwise something else varied between the runs, and the warning says by how
much.

An instruction count is not a time: a multiply-add of 16 bytes and a load that misses every cache count one each.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from edgeopt import lifetime
from edgeopt._folders import shipped
from edgeopt.errors import MachineError, ModelError
from edgeopt.targets.replies import UnreadableReply
from edgeopt.targets.requests import Sent
from edgeopt.targets.runner import read_reply
from edgeopt.targets.target import Target
from edgeopt.targets.transports.local import command_of

_FIRST = 2
_TOTAL = re.compile(r"total insns: (\d+)")


@dataclass(frozen=True)
class Instructions:
    """Instructions `per_run`, and the gap between the two differences, relative to their mean."""

    per_run: int
    apart: float


def why_not(target: Target) -> str | None:
    """Return the reason why `target` counts no instructions; None: it does."""
    device = target.device
    if not device.counting_launcher:
        return "its emulator does not count instructions"
    if shutil.which(Path(device.counting_launcher[0]).expanduser()):
        return None
    make = f"; make it: sh {shipped('deploy') / device.counting_setup}" if device.counting_setup else ""
    return f"there is no {device.counting_launcher[0]}{make}"


def count_instructions(target: Target, sent: Sent, *, runs: int) -> Instructions:
    """Count the instructions of one run of a model.

    Args:
        target: an emulator of this machine that counts (`why_not` is None).
        sent: the model, its inputs and its session.
        runs: k, more for a smaller model.

    Raises:
        MachineError: the emulator printed no count, or the model did not run.
    """
    first, second, third = (_whole(target, sent, _FIRST + times * runs) for times in range(3))
    per_run = (third - first) / (2 * runs)
    apart = abs((third - second) - (second - first)) / runs
    return Instructions(max(0, round(per_run)), apart / per_run if per_run > 0 else float("inf"))


def _whole(target: Target, sent: Sent, runs: int) -> int:
    _, python = command_of(target)
    script = shipped("deploy") / "runner" / "measure.py"
    launcher = [str(Path(part).expanduser()) if part.startswith("~") else part for part in target.device.counting_launcher]
    command = [*launcher, python, str(script), "cold"]
    line = json.dumps({"do": "cold", "runs": runs, "seconds": 1e9, **asdict(sent)}) + "\n"
    environment = {**os.environ, "PYTHONHASHSEED": "0"}  # otherwise hashing differs between processes
    done = lifetime.run(command, stdin=line.encode(), environment=environment)
    found = _TOTAL.findall(done.stderr)
    if done.returncode or not found:
        said = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise MachineError(f"target '{target.name}': {Path(launcher[0]).name} counted no instructions: {said[:200]}")
    try:
        read_reply(done.stdout.encode(), {"do": "cold"}, where=f"target '{target.name}'")
    except (UnreadableReply, ModelError) as error:
        raise MachineError(f"target '{target.name}': {error}") from error
    return int(found[-1])
