"""Comparisons while samples come in: looks are counted, decisions stay, load widens the margin."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.profile.comparing import Comparer
from edgeopt.profile.config import ProfileConfig
from edgeopt.profile.measurement import Chunk, Sampled
from edgeopt.targets.replies import Noise, State

STATE = State(frequency_mhz=None, temperature_c=None, throttle_events=None, energy_uj=None)


def sampled(times: dict[str, float], *, others: float = 0.0, rounds: int = 60) -> Sampled:
    rng = np.random.default_rng(0)
    noise = Noise(wall_s=0.25, own_cpu_s=None, others_cores=others, steal_share=0.0, involuntary_switches=0)
    blocks = lambda: {name: [ms * rng.lognormal(sigma=0.01, size=6)] for name, ms in times.items()}  # noqa: E731
    return Sampled(list(times), [Chunk(blocks(), noise, STATE) for _ in range(rounds)])


def comparer(names=("a", "b"), *, one_thread: bool = True, **options) -> Comparer:
    return Comparer(list(names), ProfileConfig(stop_when_compared=True, **options), on_one_thread=one_thread)


def test_a_decision_stays_and_later_samples_change_nothing():
    found = comparer()
    assert found.decided(sampled({"a": 2.0, "b": 1.0}))
    [pair], margin = found.settled
    assert (pair.decision, margin) == ("faster", 0.02)
    assert found.decided(sampled({"a": 1.0, "b": 2.0}))
    assert found.settled[0] == [pair]


def test_the_first_look_waits_for_enough_runs_and_rounds():
    found = comparer(min_runs=1000)
    assert not found.decided(sampled({"a": 2.0, "b": 1.0}))
    assert found.looks == 0
    few = comparer()
    assert not few.decided(sampled({"a": 2.0, "b": 1.0}, rounds=10))


def test_each_look_spends_less_of_the_error():
    found = comparer()
    from edgeopt.profile.analysis import conditions, count

    counted = count(sampled({"a": 2.0, "b": 1.0}))
    load = conditions(sampled({"a": 2.0, "b": 1.0}).chunks, counted)
    first, second = (found.compare(counted, load)[0][0].confidence for _ in range(2))
    assert first == pytest.approx(1 - 0.05 / 2) and second == pytest.approx(1 - 0.05 / 6)


def test_on_a_busy_machine_the_margin_is_wider():
    from edgeopt.profile.analysis import conditions, count

    taken = sampled({"a": 1.05, "b": 1.0}, others=1.0)
    counted = count(taken)
    pairs, margin = comparer().compare(counted, conditions(taken.chunks, counted))
    assert margin == 0.10 and pairs[0].decision != "faster"


def test_variants_that_do_not_run_are_left_out_and_without_the_baseline_all_are():
    found = comparer("abc")
    found.leave_out({"b"})
    assert found.names == ["a", "c"]
    found.leave_out({"a"})
    assert found.names == [] and not found.asked


def test_nothing_is_asked_unless_the_options_say_so():
    assert not Comparer(["a", "b"], ProfileConfig(), on_one_thread=True).asked
    assert not comparer("a").asked
