"""Counters in Prometheus' text format."""

from __future__ import annotations

from collections import Counter
from typing import Dict

_EDGES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """Requests by status, and a histogram of their seconds."""

    def __init__(self) -> None:
        self._requests: Counter[int] = Counter()
        self._buckets: Counter[float] = Counter()
        self._seconds = 0.0

    def add(self, status: int, seconds: float) -> None:
        """Count one request."""
        self._requests[status] += 1
        self._seconds += seconds
        for edge in _EDGES:
            if seconds <= edge:
                self._buckets[edge] += 1

    def text(self, gauges: Dict[str, float]) -> str:
        """Return all values, with `gauges` of the moment."""
        total = sum(self._requests.values())
        lines = ["# TYPE requests_total counter"]
        lines += [f'requests_total{{status="{status}"}} {count}' for status, count in sorted(self._requests.items())]
        lines.append("# TYPE request_seconds histogram")
        lines += [f'request_seconds_bucket{{le="{edge}"}} {self._buckets[edge]}' for edge in _EDGES]
        lines += [
            f'request_seconds_bucket{{le="+Inf"}} {total}',
            f"request_seconds_sum {self._seconds}",
            f"request_seconds_count {total}",
        ]
        for name, value in gauges.items():
            lines += [f"# TYPE {name} gauge", f"{name} {value}"]
        return "\n".join(lines) + "\n"
