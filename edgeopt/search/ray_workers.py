"""Trials on the machines of a Ray cluster, which share the search's folder.

Each trial is a Ray task that starts the same process as on one machine, so a machine that is lost, or a worker that is killed,
loses its trial alone: the task is started again elsewhere and finds in the store what had been finished.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from edgeopt.errors import MachineError
from edgeopt.extras import need
from edgeopt.search.trial import TrialResult
from edgeopt.search.workers import Task, result_of, start_trial

_LOOK_S = 0.5
_RETRIES = 2
_REACH_S = 5.0


class RayWorkers:
    """At most `count` trials at once on a Ray cluster, until `deadline`, a moment of the monotonic clock."""

    def __init__(self, address: str, count: int, deadline: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Connect to the cluster.

        Raises:
            MachineError: Ray is not installed, or no cluster answers at `address`.
        """
        self._count, self.deadline, self._clock = count, deadline, clock
        connect(address)

    @property
    def seconds_left(self) -> float:
        """Seconds until the time is over."""
        return self.deadline - self._clock()

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[int, TrialResult]]:
        """Run trials and yield (position, result) as they end; at the deadline those that run are ended."""
        import ray

        remote = ray.remote(num_cpus=1, max_retries=_RETRIES)(_run_there)
        waiting = list(enumerate(tasks))
        running: dict[Any, int] = {}
        try:
            while waiting or running:
                if self.seconds_left <= 0:
                    places = [*running.values(), *(place for place, _ in waiting)]
                    yield from ((place, TrialResult({}, unfinished=True)) for place in places)
                    return
                while waiting and len(running) < self._count:
                    place, task = waiting.pop(0)
                    running[remote.remote(task, self.seconds_left)] = place
                done, _ = ray.wait(list(running), timeout=_LOOK_S)
                for reference in done:
                    place = running.pop(reference)
                    try:
                        yield place, TrialResult(**ray.get(reference))
                    except ray.exceptions.RayError as error:
                        yield place, TrialResult({}, error=f"Ray: {str(error).splitlines()[0]:.200}")
        finally:
            for reference in running:
                ray.cancel(reference, force=True)


def connect(address: str) -> None:
    """Connect this process to the cluster at `address`, once.

    Raises:
        MachineError: Ray is not installed, or no cluster answers.
    """
    need("ray", purpose="--ray")
    import ray

    if ray.is_initialized():
        return
    try:
        _reach(address)
        ray.init(address=address, log_to_driver=False, configure_logging=False, include_dashboard=False)
    except Exception as error:  # (it raises what its parts raise)
        reason = str(error).splitlines()[0][:200]
        raise MachineError(f"--ray {address}: no cluster answers: {reason}; start one with: ray start --head") from error


def _reach(address: str) -> None:
    """Raise an `OSError` where nothing listens at HOST:PORT: Ray itself waits for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=_REACH_S).close()


def _run_there(task: Task, seconds: float) -> dict[str, Any]:
    """Run a trial on the machine that Ray chose, for at most this many seconds."""
    from edgeopt import lifetime

    process = start_trial(task)
    try:
        until = time.monotonic() + seconds
        while process.poll() is None:
            if time.monotonic() > until:
                return asdict(TrialResult({}, unfinished=True))
            time.sleep(_LOOK_S)
        return asdict(result_of(task, process.returncode))
    finally:
        lifetime.end(process, grace_s=0)
