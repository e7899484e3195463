"""Sampling with a runner whose times are planted: order of blocks, overhead, limits."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.errors import MachineError
from edgeopt.profile.measurement import Limits, patience_s, sample, start_all_cold
from edgeopt.targets.requests import Sent
from tests.profile.conftest import FakeRunner, level


def test_the_overhead_is_taken_off_and_samples_are_milliseconds():
    runner = FakeRunner({"a": level(2.0, sigma=0.0)})
    limits = Limits(deadline=runner.clock() + 1, max_runs=10_000)
    taken = sample(runner, ["a"], limits=limits, overhead_ns=100.0, enough=lambda _: False, clock=runner.clock)
    np.testing.assert_allclose(np.concatenate([block for chunk in taken.chunks for block in chunk.blocks["a"]]), 2.0, rtol=1e-9)
    assert runner.clock() == pytest.approx(limits.deadline, abs=0.3)


def test_blocks_alternate_and_give_all_variants_the_same_batches():
    runner = FakeRunner({"a": level(1.0), "b": level(2.0)})
    plans = []
    ask = runner.ask
    runner.ask = lambda request, **rest: (plans.append(request.get("blocks")), ask(request, **rest))[1]  # type: ignore[method-assign]
    limits = Limits(deadline=runner.clock() + 0.5, max_runs=10_000)
    sample(runner, ["a", "b"], limits=limits, overhead_ns=0.0, enough=lambda _: False, clock=runner.clock)
    blocks = [block for plan in plans[1:] for block in plan]  # (the first one is the pilot)
    assert [name for name, _, _ in blocks[:4]] == ["a", "b", "b", "a"]
    assert blocks[0][1:] == blocks[1][1:] and blocks[2][1] == blocks[0][1] + blocks[0][2]


def test_sampling_stops_at_the_most_runs_or_when_it_is_enough():
    runner = FakeRunner({"a": level(1.0)})
    limits = Limits(deadline=runner.clock() + 100, max_runs=50)
    taken = sample(runner, ["a"], limits=limits, overhead_ns=0.0, enough=lambda _: False, clock=runner.clock)
    assert 50 <= taken.runs < 600
    pilot = sample(runner, ["a"], limits=limits, overhead_ns=0.0, enough=lambda _: True, clock=runner.clock)
    assert (pilot.runs, pilot.rounds) == (3, 1)


def test_models_too_slow_for_a_pilot_are_an_error():
    runner = FakeRunner({"a": level(30_000.0), "b": level(30_000.0)})
    limits = Limits(deadline=runner.clock() + 1, max_runs=50)
    with pytest.raises(MachineError, match="3 runs of every model took longer than 60 s; profile fewer models at once"):
        sample(runner, ["a", "b"], limits=limits, overhead_ns=0.0, enough=lambda _: False, clock=runner.clock)


def test_cold_starts_are_interleaved_and_the_first_turn_ignores_the_deadline():
    runner = FakeRunner({})
    runner.load_ms = [10.0, 20.0]
    found = start_all_cold(
        runner, dict.fromkeys("ab", Sent("m", "i", {})), times=5, deadline=runner.clock() - 1, clock=runner.clock
    )
    assert {name: [start.load_ms for start in starts] for name, starts in found.items()} == {"a": [10.0], "b": [20.0]}
    assert found["a"][0].model_rss_bytes == 40_000_000


def test_patience_grows_with_the_time_of_the_profile():
    assert (patience_s(0), patience_s(10)) == (60.0, 120.0)


def test_a_round_that_does_not_fit_into_the_rest_of_the_time_is_no_error():
    """The first variant's block of 3 runs ends after the deadline, so that the second has none: the pilot has told enough."""
    runner = FakeRunner({"a": level(50.0, sigma=0.0), "b": level(50.0, sigma=0.0)})
    limits = Limits(deadline=runner.clock() + 0.301, max_runs=50)  # the pilot takes 0.3 s
    taken = sample(runner, ["a", "b"], limits=limits, overhead_ns=0.0, enough=lambda _: False, clock=runner.clock)
    assert (len(taken.chunks), taken.rounds) == (2, 1)
