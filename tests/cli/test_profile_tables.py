"""The tables of a profile: figures with their intervals, marks of a busy machine, ratios, budgets, an emulator's columns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edgeopt.cli.profile_tables import show_profile
from edgeopt.profile.result import Comparison, Latency, MachineLoad, Numerics, Placement, ProfileResult, VariantProfile
from edgeopt.verdict.findings import Judgement

EMPTY: dict[str, Any] = {
    "cold_starts": 1, "warmup_runs": 5, "steady": True, "effective_n": 100.0, "withheld": [], "outliers": 0,
    "outliers_waiting": None, "drift_share": 0.0, "samples_ms": [], "samples_thinned": False, "operators": [], "modules": [],
    "arena_peak_bytes": None, "memory_timeline": [], "macs": None, "conversion_share": 0.0, "floor_ms": None,
    "instructions": None, "first_run_ms": None, "model_rss_bytes": None,
}  # fmt: skip
FP32 = VariantProfile(
    name="fp32",
    size_bytes=1_234_567,
    load_ms=12.34,
    peak_rss_bytes=50_000_000,
    n=1234,
    latency=[Latency("p50", 1.5, 1.25, 1.75, 0.95), Latency("p90", 2.0, 1.9, 2.1, 0.95)],
    int8_macs_share=None,
    placement=None,
    numerics=None,
    **EMPTY,
)
INT8 = replace(FP32, name="int8", size_bytes=345_000, load_ms=None, peak_rss_bytes=None, n=7, latency=[])


def result(*variants: VariantProfile, **changes: Any) -> ProfileResult:
    values: dict[str, Any] = {
        "target": "host", "provider": "CPUExecutionProvider", "threads": 1, "device": {}, "versions": {}, "seconds": 1.0,
        "elapsed_s": 1.0, "overhead_ns": 0.0, "batches": 1, "call": "run", "comparisons": [], "budgets": [],
        "verdict": "pass", "emulated": False, "conditions": None, "inputs": {"x": ["float32 [1, 4]", "float32 [1, 8]"]},
    }  # fmt: skip
    return ProfileResult(variants=list(variants), **{**values, **changes})


def rows(printed: str) -> list[list[str]]:
    """Return the cells of the Markdown table in `printed`."""
    lines = [line for line in printed.splitlines() if line.startswith("|") and "---" not in line]
    return [[cell.strip().replace("\\", "") for cell in line.strip("|").split("|")] for line in lines]


def test_each_model_is_a_row_of_figures_with_intervals(capsys: pytest.CaptureFixture[str]) -> None:
    show_profile(result(FP32, INT8), markdown=True, given=True)
    printed = capsys.readouterr()
    assert rows(printed.out) == [
        ["model", "p50 ms", "p90 ms", "p95 ms", "runs", "load ms", "peak MB", "size MB"],
        ["fp32", "1.500 [1.250, 1.750]", "2.000 [1.900, 2.100]", "too few runs", "1,234", "12.3", "50.0", "1.235"],
        ["int8", "too few runs", "too few runs", "too few runs", "7", "–", "–", "0.345"],
    ]
    assert printed.out.splitlines()[-1] == "inputs: x float32 [1, 4] or float32 [1, 8]"
    assert printed.err == ""


def test_a_table_for_people_says_that_inputs_were_random(capsys: pytest.CaptureFixture[str]) -> None:
    show_profile(result(FP32), markdown=False, given=False)
    out = capsys.readouterr().out
    assert "|" not in out and "1.500 [1.250, 1.750]" in out
    assert "random inputs: x float32 [1, 4] or float32 [1, 8]; give real ones with --data" in out


@pytest.mark.parametrize("busy", [True, False])
def test_times_of_a_busy_machine_are_marked(capsys: pytest.CaptureFixture[str], busy: bool) -> None:
    load = MachineLoad(1.0, 1.5, None, 0.0, 1, 1, None, None, None, None, busy)
    show_profile(result(FP32, conditions=load), markdown=True, given=True)
    assert rows(capsys.readouterr().out)[1][1:4] == [
        f"1.500 [1.250, 1.750]{' (busy)' * busy}",
        f"2.000 [1.900, 2.100]{' (busy)' * busy}",
        "too few runs",
    ]


def test_ratios_budgets_and_warnings_follow(capsys: pytest.CaptureFixture[str]) -> None:
    known = Comparison("fp32", "int8", 0.5, 0.4, 0.6, 0.99, 30, "faster")
    unknown = Comparison("fp32", "other", None, None, None, 0.99, 1, "undecided")
    judged = Judgement("p95_ms<=2", "int8", "fail", 2.1, "2.1 ms")
    found = result(FP32, comparisons=[known, unknown], budgets=[judged], warnings=["the machine was busy"])
    show_profile(found, markdown=True, given=True)
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-2:] == [
        "int8 takes 0.500 [0.400, 0.600] of fp32's time, 99% confidence",
        "fail: int8: p95_ms<=2: 2.1 ms",
    ]
    assert "other" not in printed.out
    assert printed.err == "warning: the machine was busy\n"


def test_an_emulator_shows_errors_and_placement_in_place_of_times(capsys: pytest.CaptureFixture[str]) -> None:
    numerics = Numerics("CPUExecutionProvider", 0.1, 0.0123, 0.987)
    placement = Placement({"QNNExecutionProvider": 3}, 2, 0.25, [])
    measured = replace(INT8, numerics=numerics, placement=placement, int8_macs_share=0.75)
    show_profile(result(FP32, measured, emulated=True), markdown=True, given=True)
    head, first, second = rows(capsys.readouterr().out)
    assert dict(zip(head, first, strict=True)) == {
        "model": "fp32",
        "latency": "not measured (emulator)",
        "error against the CPU": "–",
        "same argmax": "–",
        "partitions": "–",
        "fallback to the CPU": "–",
        "MACs in int8": "–",
        "size MB": "1.235",
    }
    assert second[2:7] == ["1.23e-02 of the largest output", "98.7 %", "2", "25.0 %", "75.0 %"]
