"""From chunks of samples to figures, with planted times."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgeopt.profile.analysis import compare, conditions, count, is_busy, latencies, thin
from edgeopt.profile.measurement import Chunk, Sampled
from edgeopt.targets.replies import Noise, State

QUIET = Noise(wall_s=0.25, own_cpu_s=None, others_cores=0.0, steal_share=0.0, involuntary_switches=1)
STATE = State(frequency_mhz=2400.0, temperature_c=50.0, throttle_events=1.0, energy_uj=None)


def sampled(seconds: dict[str, float], *, rounds: int = 40, noise=(), cpu: bool = False) -> Sampled:
    """Return one round per chunk, 11 runs per block; the first run of a block takes ten times as long."""
    rng = np.random.default_rng(0)
    chunks = []
    for turn in range(rounds):
        blocks = {name: [np.array([10 * ms, *(ms * rng.lognormal(sigma=0.02, size=10))])] for name, ms in seconds.items()}
        own = {name: [parts[0] / 2] for name, parts in blocks.items()} if cpu else {}
        chunks.append(Chunk(blocks, replace(QUIET, **(noise[turn] if turn < len(noise) else {})), STATE, own))
    return Sampled(list(seconds), chunks)


def test_the_first_run_after_a_change_of_variant_does_not_count():
    counted = count(sampled({"a": 1.0, "b": 2.0}))
    assert counted.samples("a").max() < 2 and len(counted.samples("a")) % 10 == 0
    assert np.median(counted.samples("b")) == pytest.approx(2.0, rel=0.02)
    assert counted.own("a") is None


def test_with_one_variant_every_run_counts():
    assert len(count(sampled({"a": 1.0})).rounds["a"][0]) == 11


def test_disturbed_rounds_are_left_out_while_enough_quiet_ones_remain():
    busy = {"others_cores": 1.5}
    few = count(sampled({"a": 1.0, "b": 1.0}, noise=[busy] * 10))
    assert (few.quiet_chunks, few.chunks) == (30, 40)
    assert len(few.rounds["a"]) <= 30
    most = count(sampled({"a": 1.0, "b": 1.0}, noise=[busy] * 35))
    assert len(most.rounds["a"]) > 5  # too few quiet ones: all are kept


def test_processor_time_follows_the_rounds_that_count():
    counted = count(sampled({"a": 1.0, "b": 1.0}, cpu=True))
    np.testing.assert_allclose(counted.own("a") * 2, counted.samples("a"))


@pytest.mark.parametrize(
    ("noise", "busy"),
    [
        ({}, False),
        ({"others_cores": 0.3}, True),
        ({"steal_share": 0.03}, True),
        ({"steal_share": None}, False),
        ({"others_cores": 0.3, "wall_s": 0.05}, False),  # too short to tell
        ({"others_cores": None, "involuntary_switches": 10}, True),  # 40 per second
        ({"others_cores": None, "involuntary_switches": 7}, False),
    ],
)
def test_a_chunk_is_busy_by_load_or_by_switches(noise, busy):
    assert is_busy(replace(QUIET, **noise)) is busy


def test_quantiles_with_too_few_samples_are_withheld():
    given, withheld = latencies(np.random.default_rng(0).permutation(np.linspace(1, 2, 60)), 0.95)
    assert [it.statistic for it in given] == ["p50", "p90"]
    assert given[0].value_ms == pytest.approx(1.5, abs=0.02) and given[0].low_ms < 1.5 < given[0].high_ms
    assert [it.statistic for it in withheld] == ["p95", "p99"]
    assert withheld[0].needs_runs > 60


def test_a_comparison_is_the_ratio_of_times_by_one_of_two_clocks():
    counted = count(sampled({"a": 2.0, "b": 1.0}, cpu=True))
    found = compare(counted, "a", "b", confidence=0.95, margin=0.02)
    assert (found.decision, found.basis) == ("faster", "clock")
    assert found.ratio == pytest.approx(0.5, rel=0.02) and found.low < 0.5 < found.high
    assert compare(counted, "a", "b", confidence=0.95, margin=0.02, by_cpu=True).basis == "processor time"


def test_the_load_is_weighed_by_time_and_a_wrapped_counter_is_unknown():
    chunks = [
        Chunk({}, replace(QUIET, wall_s=1.0, others_cores=1.0), replace(STATE, energy_uj=9e6, throttle_events=1.0)),
        Chunk({}, replace(QUIET, wall_s=3.0, others_cores=0.0), replace(STATE, energy_uj=1e6, throttle_events=4.0)),
    ]
    counted = count(sampled({"a": 1.0}))
    found = conditions(chunks, counted)
    assert found.others_cores == pytest.approx(0.25)
    assert (found.throttle_events, found.energy_j, found.busy) == (3.0, None, False)
    assert found.involuntary_switches_per_s == pytest.approx(0.5)


def test_many_samples_are_thinned_evenly_from_first_to_last():
    kept, thinned = thin(np.arange(10_001, dtype=float), most=11)
    assert (kept, thinned) == ([float(1000 * n) for n in range(11)], True)
    assert thin(np.array([0.123456])) == ([0.1235], False)


def test_a_quarter_of_the_rounds_must_be_quiet_for_the_others_to_be_left_out():
    busy = {"others_cores": 1.5}
    one = count(sampled({"a": 1.0, "b": 1.0}, rounds=80))
    kept = len(one.rounds["a"])
    assert kept >= 76
    too_few = count(sampled({"a": 1.0, "b": 1.0}, rounds=80, noise=[{}] * 4 + [busy] * 62))  # 18 of 80
    assert len(too_few.rounds["a"]) == kept


def test_processor_times_that_end_early_are_not_taken_for_those_of_other_rounds():
    given = sampled({"a": 1.0, "b": 1.0}, cpu=True)
    last = given.chunks[-1]
    short = Sampled(given.names, [*given.chunks[:-1], Chunk(last.blocks, last.noise, last.state, {})])
    assert count(short).own("a") is None


@pytest.mark.parametrize("noise", [{"others_cores": 0.25}, {"steal_share": 0.02}])
def test_a_bound_of_the_load_itself_is_quiet(noise):
    assert not is_busy(replace(QUIET, **noise))


def load(*energies: float | None, wall_s: float = 0.25):
    """Return the load of chunks whose energy counter (microjoules) stands at these values, each hotter than the one before."""
    given = sampled({"a": 1.0}, rounds=len(energies))
    chunks = [
        Chunk(chunk.blocks, replace(QUIET, wall_s=wall_s), replace(STATE, energy_uj=energy, temperature_c=50.0 + turn), {})
        for turn, (chunk, energy) in enumerate(zip(given.chunks, energies, strict=True))
    ]
    return conditions(chunks, count(given))


def test_energy_is_what_the_counter_went_on_by_in_joules():
    assert load(1e6, 9e6, 4e6).energy_j == pytest.approx(3.0)
    assert load(5e6, 5e6).energy_j == 0.0
    assert load(5e6, 9e6, 1e6).energy_j is None  # it wrapped around
    assert load(None, 1e6).energy_j is None and load(1e6, None).energy_j is None


def test_the_state_is_that_at_the_end():
    assert load(None, None, None).temperature_c == 52.0


def test_no_time_at_all_divides_by_next_to_nothing():
    assert load(None, wall_s=0.0).wall_s == 1e-9
