"""Trials in processes of their own: some at once, none beyond the time."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, Popen

from edgeopt import lifetime
from edgeopt.search.trial import Spec, TrialResult, read_result, write_spec

_LOOK_S = 0.1


@dataclass(frozen=True)
class Task:
    """A trial to run: the folder that it works in, and its specification."""

    folder: Path
    spec: Spec


class Workers:
    """`count` processes on this machine, until `deadline`, a moment of the monotonic clock."""

    def __init__(self, count: int, deadline: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._count, self.deadline, self._clock = count, deadline, clock

    @property
    def seconds_left(self) -> float:
        """Seconds until the time is over."""
        return self.deadline - self._clock()

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[int, TrialResult]]:
        """Run trials and yield (position, result) as they end; at the deadline those that run are ended."""
        waiting = list(enumerate(tasks))
        running: dict[int, Popen[bytes]] = {}
        try:
            while waiting or running:
                if self.seconds_left <= 0:
                    yield from (
                        (place, TrialResult({}, unfinished=True)) for place in (*running, *(place for place, _ in waiting))
                    )
                    return
                while waiting and len(running) < self._count:
                    place, task = waiting.pop(0)
                    running[place] = start_trial(task)
                for place, process in list(running.items()):
                    if process.poll() is not None:
                        lifetime.end(running.pop(place), grace_s=0)
                        yield place, result_of(tasks[place], process.returncode)
                time.sleep(_LOOK_S)
        finally:
            for process in running.values():
                lifetime.end(process, grace_s=0)


def start_trial(task: Task) -> Popen[bytes]:
    """Start the process of a trial; what it prints goes into `trial.log`."""
    spec = task.folder / "spec.json"
    task.folder.mkdir(parents=True, exist_ok=True)
    (task.folder / "result.json").unlink(missing_ok=True)
    write_spec(spec, task.spec)
    with (task.folder / "trial.log").open("wb") as log:
        return lifetime.start(
            [sys.executable, "-P", "-m", "edgeopt.search.trial", str(spec)], stdin=DEVNULL, stdout=log, stderr=log
        )


def result_of(task: Task, code: int) -> TrialResult:
    """Return what a trial wrote, or what its process ended with."""
    found = read_result(task.folder / "result.json")
    if found is not None:
        return found
    log = (task.folder / "trial.log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    last = log[-1] if log else "nothing was said"
    return TrialResult({}, error=f"the process ended with code {code}: {last:.200}")
