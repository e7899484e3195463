"""A/A and A/B with planted noise that disturbs both variants at once."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.profile.ratio import decide, ratio_interval
from edgeopt.verdict.order_statistics import QuantileInterval, Samples


def _rounds(seed: int, slowdown: float, rounds: int = 60) -> tuple[list[Samples], list[Samples]]:
    """Rounds of five runs each; the machine wanders by tens of percent between rounds."""
    rng = np.random.default_rng(seed)
    level = 10 * np.exp(np.cumsum(rng.normal(0, 0.05, rounds)))
    a = [speed * rng.lognormal(sigma=0.05, size=5) for speed in level]
    b = [speed * slowdown * rng.lognormal(sigma=0.05, size=5) for speed in level]
    return a, b


def test_the_interval_covers_the_planted_ratio_as_often_as_it_promises() -> None:
    covered = 0
    for seed in range(500):
        interval = ratio_interval(*_rounds(seed, 1.05), confidence=0.95)
        assert interval is not None
        covered += interval.low <= 1.05 <= interval.high
    assert covered >= 0.93 * 500, f"{covered} of 500"


def test_the_same_file_twice_is_not_called_different() -> None:
    wrong = sum(
        decide(ratio_interval(*_rounds(seed, 1.0), confidence=0.95), 0.02) in ("slower", "faster") for seed in range(200)
    )
    assert wrong <= 2


def test_five_percent_slower_is_found() -> None:
    found = sum(decide(ratio_interval(*_rounds(seed, 1.05, 200), confidence=0.95), 0.02) == "slower" for seed in range(20))
    assert found >= 18, f"{found} of 20"


@pytest.mark.parametrize(("slowdown", "decision"), [(1.5, "slower"), (0.5, "faster"), (1.0, "same")])
def test_decisions(slowdown: float, decision: str) -> None:
    assert decide(ratio_interval(*_rounds(1, slowdown, 400), confidence=0.95), 0.03) == decision


def test_too_few_rounds_decide_nothing() -> None:
    assert decide(ratio_interval(*_rounds(1, 9.0, 4), confidence=0.95), 0.02) == "undecided"
    assert ratio_interval([], [], 0.95) is None


@pytest.mark.parametrize(
    ("low", "high", "decision"),
    [
        (0.5, 0.89, "faster"),
        (0.5, 0.9, "undecided"),  # the margin itself is not beyond the margin
        (0.9, 1.1, "same"),
        (0.95, 1.5, "undecided"),
        (0.5, 1.0, "undecided"),
        (1.1, 1.5, "undecided"),
        (1.11, 1.5, "slower"),
    ],
)
def test_a_decision_takes_the_whole_interval(low: float, high: float, decision: str) -> None:
    assert decide(QuantileInterval((low + high) / 2, low, high), 0.1) == decision


def test_rounds_without_runs_of_both_are_left_out() -> None:
    a, b = _rounds(1, 1.2)
    empty = np.array([], dtype=np.float64)
    assert ratio_interval([empty, *a, a[0]], [b[0], *b, empty], 0.95) == ratio_interval(a, b, 0.95)
