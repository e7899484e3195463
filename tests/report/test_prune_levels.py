"""The page of levels: every figure is there, names are escaped, a level that failed says why."""

from __future__ import annotations

from edgeopt.report.prune_levels import levels_page

_ROW = {
    "parameters": 1000,
    "macs": 5000,
    "size_bytes": 4_000_000,
    "latency_ms": 2.5,
    "metric": "accuracy",
    "value": 0.9,
    "problem": "",
}


def test_the_page_has_table_and_plots() -> None:
    rows = [{"level": 0, **_ROW}, {"level": 30, **_ROW, "latency_ms": 1.25, "value": 0.875}]
    parts = [{"name": "a<b>", "kind": "heads", "units": 4, "divergence": {4: 0.0, 2: 0.5}}]
    page = levels_page("<title>", rows, parts)
    assert "<td>30 %" in page and "<td>1.250<td>0.8750" in page
    assert page.count("<svg") == 5 and "&lt;title&gt;" in page and "a&lt;b&gt;" in page and "a<b>" not in page


def test_a_level_that_cannot_be_reached_says_so() -> None:
    page = levels_page("t", [{"level": 0, **_ROW}, {"level": 99, **_ROW, "problem": "cannot be reached: <10 %"}], [])
    assert "cannot be reached: &lt;10 %" in page and page.count("<svg") == 0
