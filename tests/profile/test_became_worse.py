"""Regressions between two profiles: found where planted, and no more false alarms than promised."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeopt.errors import DataError
from edgeopt.profile.became_worse import CompareConfig, compare, read_profile


def _profile(seed: int, *, ms: float = 5.0, n: int = 400, **change: Any) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    variants = [
        {"name": name, "samples_ms": list(ms * rng.lognormal(sigma=0.1, size=n)), "size_bytes": 1000, "macs": 50, **change}
        for name in ("fp32", "int8")
    ]
    return {
        "target": "t",
        "provider": "p",
        "threads": 1,
        "batches": 1,
        "device": {"cpu": "x"},
        "versions": {},
        "variants": variants,
    }


def test_equal_profiles_raise_no_more_false_alarms_than_stated() -> None:
    config = CompareConfig(false_alarm_rate=0.05, margin=0.0)
    alarms = 0
    for seed in range(300):
        found = compare(_profile(seed), _profile(10_000 + seed), config=config)
        alarms += any(change.finding in ("regression", "improvement") for change in found.changes)
    assert alarms <= 0.05 * 300, f"{alarms} of 300"


def test_a_slowdown_is_found_with_its_figures() -> None:
    found = compare(_profile(1), _profile(2, ms=6.0))
    assert found.verdict == "fail"
    slower = [change for change in found.changes if change.finding == "regression"]
    assert {(change.variant, change.metric) for change in slower} == {
        (v, m) for v in ("fp32", "int8") for m in ("p50_ms", "p95_ms")
    }
    assert slower[0].base == pytest.approx(5.0, rel=0.05) and slower[0].new == pytest.approx(6.0, rel=0.05)


def test_a_speed_up_is_an_improvement_and_passes() -> None:
    found = compare(_profile(1), _profile(2, ms=4.0))
    assert found.verdict == "pass" and found.changes[0].finding == "improvement"


def test_a_change_within_the_margin_is_none() -> None:
    assert compare(_profile(1), _profile(2, ms=5.1)).verdict == "pass"


def test_too_few_runs_are_undecided() -> None:
    found = compare(_profile(1, n=12), _profile(2, n=12))
    assert found.verdict == "undecided"


@pytest.mark.parametrize(
    ("change", "metric", "finding"),
    [
        ({"size_bytes": 1001}, "size_bytes", "regression"),
        ({"size_bytes": 900}, "size_bytes", "improvement"),
        ({"macs": 60}, "macs", "regression"),
    ],
)
def test_exact_figures_have_no_margin(change: dict[str, Any], metric: str, finding: str) -> None:
    found = compare(_profile(1), _profile(1, **change))
    assert {it.finding for it in found.changes if it.metric == metric} == {finding}


def test_memory_has_the_margin_and_less_int8_is_worse() -> None:
    base = _profile(1, peak_rss_bytes=100, int8_macs_share=0.9)
    found = compare(base, _profile(1, peak_rss_bytes=104, int8_macs_share=0.5))
    by_metric = {change.metric: change.finding for change in found.changes}
    assert by_metric["peak_rss_bytes"] == "same" and by_metric["int8_macs_share"] == "regression"


def test_another_device_is_noted_and_its_latency_not_compared() -> None:
    other = {**_profile(2, ms=50.0), "device": {"cpu": "y"}, "threads": 4, "versions": {"onnxruntime": "2"}}
    found = compare(_profile(1), other)
    assert found.verdict == "undecided"
    assert found.notes == [
        "threads differs: 1 then, 4 now",
        "the device differs: latencies are not compared",
        "onnxruntime None then, 2 now",
    ]


def test_nothing_in_common_and_files_that_are_no_profiles(tmp_path: Path) -> None:
    other = _profile(1)
    for variant in other["variants"]:
        variant["name"] += "-new"
    with pytest.raises(DataError, match="share no variant"):
        compare(_profile(1), other)
    for text, says in (("{", "cannot be read"), ("[]", "not a profile"), ("{}", "not a profile")):
        (tmp_path / "p.json").write_text(text)
        with pytest.raises(DataError, match=says):
            read_profile(tmp_path / "p.json")
    with pytest.raises(DataError, match="cannot be read"):
        read_profile(tmp_path / "none.json")
    (tmp_path / "p.json").write_text(json.dumps(_profile(1)))
    assert read_profile(tmp_path / "p.json")["target"] == "t"


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"threads": 2}, "measured with different numbers of threads"),
        ({"inputs": {"x": ["float32 [1, 256]"]}}, "measured on other inputs"),
    ],
)
def test_latencies_under_other_conditions_are_not_compared(other: dict[str, object], why: str) -> None:
    base = {**_profile(1), "inputs": {"x": ["float32 [1, 32]"]}}
    found = compare(base, {**base, **_profile(2, ms=50.0), "inputs": base["inputs"], **other})
    assert {change.reason for change in found.changes if change.finding == "undecided"} == {why}
    assert found.verdict == "undecided" and any("then" in note for note in found.notes)
