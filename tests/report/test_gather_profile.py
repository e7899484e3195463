"""Speed, roof and executions from a profile's result."""

import pytest

from edgeopt.report.gather_profile import baseline, executions, roof, speed
from edgeopt.stages.results import read_facts


def profile_of(facts):
    return read_facts("profile", facts["profile"])


def test_the_speed_up_is_the_inverse_ratio_with_its_bounds_swapped(facts):
    profile = profile_of(facts)
    rows = {row.name: speed(row, profile) for row in profile.variants}
    assert rows["int8"].speedup.value == pytest.approx(1 / 0.419)
    assert (rows["int8"].speedup.low, rows["int8"].speedup.high) == pytest.approx((1 / 0.425, 1 / 0.414))
    assert rows["int8"].decision == "faster"
    assert (rows["fp32"].speedup, rows["fp32"].decision) == (None, None)
    assert rows["distill"].decision is None  # never compared


def test_without_a_ratio_there_is_a_decision_alone(facts):
    facts["profile"]["comparisons"][0] |= {"ratio": None, "low": None, "high": None, "decision": "undecided"}
    profile = profile_of(facts)
    int8 = next(speed(row, profile) for row in profile.variants if row.name == "int8")
    assert (int8.speedup, int8.decision) == (None, "undecided")


def test_the_baseline_is_the_recipes_or_the_first(facts):
    assert baseline(None) == "fp32"
    assert baseline(profile_of(facts)) == "fp32"
    facts["profile"]["variants"] = [{**facts["profile"]["variants"][1], "name": name} for name in ("new", "old")]
    assert baseline(profile_of(facts)) == "new"


def test_a_roof_wants_rates_and_bandwidths(facts):
    assert roof(profile_of(facts)) is None
    levels = [{"working_set_bytes": 10, "bytes_per_s": 5.0}, {"working_set_bytes": 20, "bytes_per_s": 0.0}]
    facts["profile"]["peak"] = {"operations_per_s": {"fp32": 2.0, "int8": 0.0}, "bandwidth": levels}
    found = roof(profile_of(facts))
    assert (found.operations_per_s, found.bandwidth) == ({"fp32": 2.0}, ((10, 5.0),))
    facts["profile"]["peak"]["bandwidth"] = []
    assert roof(profile_of(facts)) is None


def test_only_what_has_a_floor_or_a_placement_is_an_execution(facts):
    facts["profile"]["variants"][1]["floor_ms"] = 0.03
    (only,) = executions(profile_of(facts))
    assert (only.name, only.floor_ms, only.p50_ms, only.partitions) == ("int8", 0.03, 0.0612, None)
