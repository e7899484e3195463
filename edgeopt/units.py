"""Numbers as people read them, each with its unit; a missing one is a dash."""

from __future__ import annotations

import re

from edgeopt.interval import Interval

NONE = "–"
NOT_MEASURED = "not measured (emulator)"
_LONG_MS = 1e4
_BYTES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_COUNTS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def size(value: float | None) -> str:
    """Return bytes in decimal units: 1,234,567 → "1.23 MB"."""
    if value is None:
        return NONE
    unit = next(((scale, name) for scale, name in _BYTES if value >= scale), None)
    return f"{figures(value / unit[0])} {unit[1]}" if unit else f"{value:.0f} B"


def count(value: float | None) -> str:
    """Return a count: 1,234,567 → "1.23 M"."""
    if value is None:
        return NONE
    unit = next(((scale, name) for scale, name in _COUNTS if value >= scale), None)
    return f"{figures(value / unit[0])} {unit[1]}" if unit else f"{value:.0f}"


def milliseconds(value: float | None) -> str:
    """Return a time: 0.01234 → "0.0123 ms", 12,340 → "12.3 s"."""
    if value is None:
        return NONE
    return f"{figures(value)} ms" if abs(value) < _LONG_MS else f"{figures(value / 1e3)} s"


def milliseconds_interval(interval: Interval | None) -> str:
    """Return a time with its interval: "12.3 ms [12.1, 12.6]"."""
    if interval is None:
        return NONE
    if interval.low is None or interval.high is None:
        return milliseconds(interval.value)
    scale = 1e3 if abs(interval.value) >= _LONG_MS else 1.0
    return f"{milliseconds(interval.value)} [{figures(interval.low / scale)}, {figures(interval.high / scale)}]"


def percent(value: float | None, digits: int = 1) -> str:
    """Return a share: 0.9876 → "98.8 %"."""
    return NONE if value is None else f"{100 * value:.{digits}f} %"


def percent_interval(interval: Interval | None) -> str:
    """Return a share with its interval: "98.9 % [97.4, 99.5]"."""
    if interval is None:
        return NONE
    if interval.low is None or interval.high is None:
        return percent(interval.value)
    return f"{percent(interval.value)} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def times(value: float | None) -> str:
    """Return a factor: 2.345 → "2.35×"."""
    return NONE if value is None else f"{figures(value)}×"


def times_interval(interval: Interval | None) -> str:
    """Return a factor with its interval: "2.35× [2.31, 2.38]"."""
    if interval is None:
        return NONE
    if interval.low is None or interval.high is None:
        return times(interval.value)
    return f"{times(interval.value)} [{figures(interval.low)}, {figures(interval.high)}]"


def points(value: float) -> str:
    """Return a difference of two shares: -0.00278 → "−0.28 points"."""
    text = f"{100 * value:+.2f} points"
    return text.replace("-", "−")


def seconds(value: float) -> str:
    """Return a duration: 75 → "1 min 15 s"."""
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s"


def read_seconds(text: str) -> float:
    """Return the seconds in a duration such as "90s", "5m", "10min", "1.5h" or "90".

    Raises:
        ValueError: it is none, or not above 0.
    """
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*(s|m|min|h|)", text.strip())
    if match is None or float(match[1]) == 0:
        raise ValueError("write a number and s, m or h, such as 20m")
    return float(match[1]) * {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "": 1.0}[match[2]]


def figures(value: float) -> str:
    """Return three significant figures without an exponent: 1234.5 → "1,234", 12.345 → "12.3", 0.012345 → "0.0123"."""
    if value == 0:
        return "0"
    if abs(value) >= 99.95:
        return f"{value:,.0f}"
    if abs(value) >= 0.9995:
        return f"{value:.1f}" if abs(value) >= 9.995 else f"{value:.2f}"
    return f"{value:#.3g}" if abs(value) >= 1e-3 else f"{value:.2e}"
