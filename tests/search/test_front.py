from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from edgeopt.search.front import Front, Point, dominates, front_of, write_front


def _point(name: str, metric: float, ms: float | None, size: float) -> Point:
    return Point(name, metric, ms, size, f"recipes/{name}.toml", f"candidates/{name}/bundle")


def test_a_point_dominates_where_it_is_nowhere_worse_and_somewhere_better() -> None:
    a, b = _point("a", 0.9, 2.0, 10), _point("b", 0.9, 2.0, 11)
    assert dominates(a, b) and not dominates(b, a) and not dominates(a, a)
    assert not dominates(_point("c", 0.95, 3.0, 10), a)
    assert dominates(_point("d", 0.9, None, 9), a)  # no time was measured: the others decide


def test_the_front_has_what_nobody_beats_best_metric_first() -> None:
    points = [_point("slow", 0.9, 3, 10), _point("fast", 0.8, 1, 10), _point("bad", 0.79, 2, 10), _point("best", 0.95, 4, 10)]
    assert [point.name for point in front_of(points)] == ["best", "slow", "fast"]


def test_the_front_is_written_as_json_and_as_a_page_that_escapes_names(tmp_path: Path) -> None:
    point = _point("c001", 0.9, 1.234, 2e6)
    front = Front("acc<script>", (point,), ("p50_ms<=2",), True, "", 5, 2, 61.0)
    values = json.loads(write_front(front, tmp_path).read_text(encoding="utf-8"))
    assert {"metric", "p50_ms", "size_bytes", "recipe", "bundle"} <= set(values["points"][0])
    page = (tmp_path / "front.html").read_text(encoding="utf-8")
    assert "acc<script>" not in page.partition("<table>")[2] and "1.23" in page and "All budgets are kept" in page


def test_an_error_rate_is_better_the_lower_it_is() -> None:
    high, low = (replace(_point(name, rate, 1.0, 10), merit=-rate) for name, rate in (("high", 0.3), ("low", 0.1)))
    assert dominates(low, high) and not dominates(high, low)
    assert [point.name for point in front_of([high, low])] == ["low"]
