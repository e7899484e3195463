"""The thread that decodes: requests wait, join the batch, and leave it at any token.

One thread owns the loop and the cache; requests come from the server's event loop. After each step the streams that got tokens
are sent to the waiting clients. A request whose client has gone is dropped before the next step.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable

from edgeopt.errors import EdgeoptError, MachineError
from edgeopt.generate.engine.errors import EngineError
from edgeopt.generate.engine.loop import Loop
from edgeopt.generate.engine.stream import Stream
from edgeopt.generate.server.metrics import Metrics


class QueueFullError(EdgeoptError):
    """As many requests wait as may wait."""


class ShuttingDownError(EdgeoptError):
    """The server takes no more requests."""


class Job:
    """A stream in the server; `changed` is called from the decoding thread whenever it has new tokens or has ended."""

    def __init__(self, stream: Stream, changed: Callable[[], None]) -> None:
        self.stream = stream
        self.submitted = time.perf_counter()
        self.error: Exception | None = None
        self.cancelled = False
        self.counted = 0
        self._changed = changed

    def tell(self) -> None:
        """Wake the waiting clients."""
        with contextlib.suppress(RuntimeError):  # the event loop has ended
            self._changed()

    @property
    def done(self) -> bool:
        """Whether nothing more will come."""
        return self.error is not None or self.stream.reason is not None


class Worker:
    """Decodes jobs until it is closed."""

    def __init__(self, loop: Loop, metrics: Metrics, *, queue: int) -> None:
        self._loop, self._metrics, self._most = loop, metrics, queue
        self._waiting: deque[Job] = deque()
        self._running: dict[int, Job] = {}
        self._wake = threading.Condition()
        self._open, self._stopped = True, False
        self._thread = threading.Thread(target=self._run, name="edgeopt-decode", daemon=True)
        self._thread.start()

    @property
    def open(self) -> bool:
        """Whether requests are taken."""
        return self._open

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """How many requests are being answered."""
        return len(self._running)

    @property
    def cached_tokens(self) -> int:
        """How many tokens the cache holds."""
        return self._loop.cached_tokens

    def submit(self, jobs: list[Job]) -> None:
        """Queue jobs.

        Raises:
            QueueFullError: too many requests wait.
            ShuttingDownError: no more requests are taken.
        """
        with self._wake:
            if not self._open:
                raise ShuttingDownError("the server is shutting down")
            if len(self._waiting) + len(self._running) + len(jobs) > self._most + self._loop.rows:
                raise QueueFullError(f"{len(self._waiting)} requests are waiting, at most {self._most} may; try again later")
            self._waiting.extend(jobs)
            self._wake.notify()

    def cancel(self, job: Job) -> None:
        """Forget a job: its row is free before the next token."""
        with self._wake:
            job.cancelled = True
            self._wake.notify()

    def close(self, grace_s: float) -> None:
        """Take no more requests, let those that run end within `grace_s` seconds, and stop."""
        with self._wake:
            self._open = False
            self._wake.notify()
        end = time.monotonic() + grace_s
        while time.monotonic() < end and (self._waiting or self._running) and self._thread.is_alive():
            time.sleep(0.02)
        with self._wake:
            self._stopped = True
            self._wake.notify()
        self._thread.join(timeout=30.0)

    def _run(self) -> None:
        while True:
            with self._wake:
                while not (self._stopped or self._waiting or self._running):
                    self._wake.wait()
                if self._stopped:
                    break
            try:
                self._drop_cancelled()
                self._admit()
                if self._running:
                    self._step()
            except Exception as error:  # noqa: BLE001  (what fails ends its requests, not the server)
                self._fail(error)
        for job in [*self._waiting, *self._running.values()]:
            job.error = ShuttingDownError("the server is shutting down")
            job.tell()

    def _drop_cancelled(self) -> None:
        for job in [job for job in self._running.values() if job.cancelled]:
            self._loop.drop(job.stream)
            del self._running[id(job.stream)]
        with self._wake:
            for job in [job for job in self._waiting if job.cancelled]:
                self._waiting.remove(job)
                job.stream.end("cancelled")

    def _admit(self) -> None:
        while self._loop.free:
            with self._wake:
                if not self._waiting:
                    return
                job = self._waiting.popleft()
            if job.stream.deadline is not None and time.perf_counter() > job.stream.deadline:
                job.stream.end("time")
                job.tell()
                continue
            try:
                self._loop.add(job.stream)
            except EngineError as error:
                job.error = error
                job.tell()
                continue
            self._running[id(job.stream)] = job
            self._metrics.prompt_tokens.add(len(job.stream.prompt))
            self._metrics.reused_tokens.add(job.stream.reused)

    def _step(self) -> None:
        for stream in self._loop.step():
            job = self._running[id(stream)]
            fresh = len(stream.made) - job.counted
            if fresh == len(stream.made):
                self._metrics.first_token.observe(stream.first - job.submitted)
            job.counted = len(stream.made)
            self._metrics.made(fresh)
            if stream.reason is not None:
                del self._running[id(stream)]
            job.tell()

    def _fail(self, error: Exception) -> None:
        for job in list(self._running.values()):
            self._loop.drop(job.stream)
            job.error = error if isinstance(error, EngineError) else MachineError(f"the model failed: {error}")
            job.tell()
        self._running.clear()
