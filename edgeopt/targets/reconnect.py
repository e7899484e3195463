"""A runner that survives a lost connection: it is started again, its variants are opened again, the request is repeated."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from edgeopt import progress
from edgeopt.targets.runner import ConnectionLost, ProcessRunner


class ReconnectingRunner:
    """Sends requests through the runners of `connect`, one after another.

    A runner that never replied is not retried: a missing interpreter is reported at once. A measurement continues after a lost
    connection: earlier samples are with the caller, and after opening again the request is sent twice, the first reply
    warming up what the second one measures. Pauses double, so that a device has time to reboot.
    """

    def __init__(self, connect: Callable[[], ProcessRunner], *, tries: int, pause_s: float) -> None:
        self._connect = connect
        self._tries = tries
        self._pause_s = pause_s
        self._opened: dict[str, Mapping[str, Any]] = {}
        self._runner = connect()
        self._answered = False
        self.cuts = 0

    def ask(self, request: Mapping[str, Any], *, timeout_s: float = 600.0) -> Any:
        """Send one request and return the reply (see `Runner.ask`)."""
        attempt = 0
        while True:
            try:
                return self._attempt(request, timeout_s, again=attempt > 0)
            except ConnectionLost as lost:
                attempt += 1
                if attempt == self._tries or not self._answered:
                    raise
                self.cuts += 1
                progress.note(f"{lost}; connecting again")
                time.sleep(self._pause_s * 2 ** (attempt - 1))

    def _attempt(self, request: Mapping[str, Any], timeout_s: float, *, again: bool) -> Any:
        if again:
            self._begin_again(request, timeout_s)
        reply = self._runner.ask(request, timeout_s=timeout_s)
        self._answered = True
        self._remember(request)
        return reply

    def _begin_again(self, request: Mapping[str, Any], timeout_s: float) -> None:
        self._runner.close()
        self._runner = self._connect()
        for opened in self._opened.values():
            self._runner.ask(opened, timeout_s=timeout_s)
        if request["do"] == "sample":
            self._runner.ask(request, timeout_s=timeout_s)

    def _remember(self, request: Mapping[str, Any]) -> None:
        if request["do"] == "open":
            self._opened[request["name"]] = request
        elif request["do"] == "close":
            self._opened.pop(request["name"], None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._runner.__exit__(kind, error, trace)
