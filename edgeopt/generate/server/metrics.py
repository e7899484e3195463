"""Figures of the server in Prometheus' text format (https://prometheus.io/docs/instrumenting/exposition_formats/)."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping

_BOUNDS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_WINDOW_S = 10.0


class Count:
    """A figure that only grows."""

    def __init__(self) -> None:
        self.value = 0

    def add(self, amount: int) -> None:
        """Add to it."""
        self.value += amount


class Histogram:
    """How often a duration was within each bound."""

    def __init__(self) -> None:
        self.counts = [0] * (len(_BOUNDS_S) + 1)
        self.sum_s = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        place = next((index for index, bound in enumerate(_BOUNDS_S) if seconds <= bound), len(_BOUNDS_S))
        self.counts[place] += 1
        self.sum_s += seconds


class Metrics:
    """Everything that is counted."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.prompt_tokens, self.reused_tokens, self.generated_tokens = Count(), Count(), Count()
        self.first_token = Histogram()
        self._recent: deque[tuple[float, int]] = deque()
        self._lock = threading.Lock()

    def made(self, tokens: int) -> None:
        """Count generated tokens."""
        self.generated_tokens.add(tokens)
        with self._lock:
            self._recent.append((time.monotonic(), tokens))
            self._forget()

    def _forget(self) -> None:
        while self._recent and self._recent[0][0] < time.monotonic() - _WINDOW_S:
            self._recent.popleft()

    def tokens_per_s(self) -> float:
        """Return the generated tokens per second of the last ten seconds."""
        with self._lock:
            self._forget()
            return sum(tokens for _, tokens in self._recent) / _WINDOW_S

    def text(self, gauges: Mapping[str, tuple[str, float]]) -> str:
        """Return all figures; `gauges` has those that go up and down, by name: their description and value."""
        return "\n".join(self._lines(gauges)) + "\n"

    def _lines(self, gauges: Mapping[str, tuple[str, float]]) -> Iterator[str]:
        yield from _head("edgeopt_requests_total", "counter", "Requests by path and status.")
        for (path, status), count in sorted(self.requests.items()):
            yield f'edgeopt_requests_total{{path="{path}",status="{status}"}} {count}'
        counters = (
            ("edgeopt_prompt_tokens_total", "Tokens of prompts.", self.prompt_tokens),
            ("edgeopt_reused_tokens_total", "Tokens of prompts that were in the cache.", self.reused_tokens),
            ("edgeopt_generated_tokens_total", "Tokens that were generated.", self.generated_tokens),
        )
        for name, what, count_of in counters:
            yield from _head(name, "counter", what)
            yield f"{name} {count_of.value}"
        values = {**gauges, "edgeopt_tokens_per_second": ("Generated tokens per second, last 10 s.", self.tokens_per_s())}
        for name, (what, value) in values.items():
            yield from _head(name, "gauge", what)
            yield f"{name} {value:g}"
        name = "edgeopt_time_to_first_token_seconds"
        yield from _head(name, "histogram", "Time from a request to its first token.")
        total = 0
        for bound, found in zip([*_BOUNDS_S, "+Inf"], self.first_token.counts, strict=True):
            total += found
            yield f'{name}_bucket{{le="{bound}"}} {total}'
        yield f"{name}_sum {self.first_token.sum_s:.6f}"
        yield f"{name}_count {total}"


def _head(name: str, kind: str, what: str) -> tuple[str, str]:
    return f"# HELP {name} {what}", f"# TYPE {name} {kind}"
