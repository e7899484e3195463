"""A device that does not exist: it runs on a fake clock and answers with planted times."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from edgeopt.targets.replies import as_answer

Law = Callable[[np.random.Generator, int, float], np.ndarray[Any, np.dtype[np.float64]]]
"""(generator, runs, seconds on the clock) -> milliseconds of each run."""

_OVERHEAD_NS = 100.0
_STATE = {
    "frequency_mhz": 2400.0,
    "temperature_c": 55.0,
    "throttle_events": 0.0,
    "energy_uj": None,
    "max_frequency_mhz": None,
    "battery_percent": None,
    "load_1min": 0.0,
}


class FakeRunner:
    """Answers like the runner; `now` is its clock in seconds, moved only by the planted times."""

    def __init__(self, laws: Mapping[str, Law], *, seed: int = 0) -> None:
        self.laws = laws
        self.now = 1000.0
        self.own_ms: dict[str, Law] = {}  # processor time of the calling thread, where it is told
        self.idle_cores = 0.0  # what others use of the machine before a law says more
        self.others_cores = 0.0
        self.others_told = True
        self.switches = 1  # a chunk of about a quarter of a second
        self.peak_rss_bytes = [90_000_000]
        self.load_ms = [30.0]
        self.asked: list[str] = []
        self._rng = np.random.default_rng(seed)

    def clock(self) -> float:
        return self.now

    def ask(self, request: Mapping[str, Any], *, timeout_s: float = 600.0) -> Any:
        self.asked.append(request["do"])
        return as_answer(getattr(self, "_" + request["do"])(request), request)

    def _hello(self, request: Mapping[str, Any]) -> dict[str, Any]:
        device = {"machine": "abacus", "cores": 1}
        return {"protocol": 1, "versions": {"onnxruntime": "0"}, "providers": [], "device": device, "overhead_ns": _OVERHEAD_NS}

    def _cold(self, request: Mapping[str, Any]) -> dict[str, Any]:
        turn = self.asked.count("cold") - 1
        self.now += 0.2
        return {
            "load_ns": self.load_ms[turn % len(self.load_ms)] * 1e6,
            "first_run_ns": 5e6,
            "before_rss_bytes": 50_000_000,
            "peak_rss_bytes": self.peak_rss_bytes[turn % len(self.peak_rss_bytes)],
        }

    def _open(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self.now += 0.03
        return {"load_ns": 3e7, "first_run_ns": 5e6, "batches": 1, "providers": ["CPUExecutionProvider"], "call": "io_binding"}

    def _sample(self, request: Mapping[str, Any]) -> dict[str, Any]:
        begin = self.now
        self.others_cores = self.idle_cores
        blocks = []
        for name, _, runs in request["blocks"]:
            times_ms = self.laws[name](self._rng, runs, self.now)
            self.now += float(times_ms.sum()) / 1e3
            own = [[round(ms * 1e6) for ms in self.own_ms[name](self._rng, runs, self.now)]] if name in self.own_ms else []
            blocks.append([name, [round(ms * 1e6 + _OVERHEAD_NS) for ms in times_ms], *own])
            if self.now - begin > request["limit_s"]:
                break
        noise = {
            "wall_s": self.now - begin,
            "own_cpu_s": self.now - begin,
            "others_cores": self.others_cores if self.others_told else None,
            "steal_share": 0.0,
            "involuntary_switches": self.switches,
        }
        return {"blocks": blocks, "noise": noise, "state": _STATE}

    def _operators(self, request: Mapping[str, Any]) -> dict[str, Any]:
        image = ["float", [1, 4, 8, 8]]
        conv = {"name": "conv", "op": "Conv", "us": 30.0, "inputs": [image, ["float", [4, 4, 3, 3]]], "outputs": [image]}
        relu = {"name": "relu", "op": "Relu", "us": 10.0, "inputs": [image], "outputs": [image]}
        rest = {"provider": "P", "calls": 1, "bytes": 2048}
        return {"runs": 1, "operators": [{**conv, **rest}, {**relu, **rest}], "arena_peak_bytes": 4096}


def level(ms: float, *, sigma: float = 0.03) -> Law:
    return lambda rng, runs, now: ms * rng.lognormal(sigma=sigma, size=runs)


@pytest.fixture(name="level")
def _level() -> Callable[..., Law]:
    return level


@pytest.fixture
def fake_runner() -> type[FakeRunner]:
    return FakeRunner
