"""What really ran: int8 share, partitions, and the distance to the machine's floor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from edgeopt.report.build import build_report
from edgeopt.report.html import to_html
from edgeopt.report.json import from_json, to_json
from edgeopt.report.markdown import to_markdown
from edgeopt.report.model import Report
from edgeopt.report.record import RunRecord, StageRecord
from edgeopt.report.table import execution_rows


@pytest.fixture
def report(facts: dict[str, dict[str, Any]]) -> Callable[..., Report]:
    profile = facts["profile"]
    latency = [{"statistic": "p50", "value_ms": 2.0, "low_ms": 1.9, "high_ms": 2.1, "confidence": 0.95}]
    (int8,) = (row for row in profile["variants"] if row["name"] == "int8")

    def made(**variant: Any) -> Report:
        rows = [{**int8, "latency": latency, **variant}]
        values = {**profile, "variants": rows, "comparisons": [], "budgets": []}
        return build_report(RunRecord("r", {}, "t", (StageRecord("profile", "k", "made", 1.0, values),)))

    return made


def placed(partitions: int, cpu_fallback_share: float) -> dict[str, Any]:
    return {"nodes": {}, "partitions": partitions, "cpu_fallback_share": cpu_fallback_share, "breaks": []}


def test_the_distance_to_the_floor_is_told(report: Callable[..., Report]) -> None:
    made = report(floor_ms=0.5, int8_macs_share=0.9, conversion_share=0.25, placement=placed(3, 0.125))
    assert execution_rows(made) == [("int8", "2.00 ms", "0.500 ms", "4.00×", "90.0 %", "25.0 %", "3", "12.5 %", "–")]
    for text in (to_html(made), to_markdown(made)):
        assert "What ran" in text
        assert "4.00×" in text
    assert from_json(to_json(made)) == made


def test_what_is_not_known_is_left_out(report: Callable[..., Report]) -> None:
    made = report()
    assert made.executions == ()
    assert "What ran" not in to_markdown(made)


def test_an_emulator_has_partitions_and_no_floor(report: Callable[..., Report]) -> None:
    (row,) = execution_rows(report(placement=placed(1, 0.0)))
    assert row[2:4] == ("–", "–")
    assert row[6] == "1"
