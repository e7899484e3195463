from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgeopt.cli import app
from edgeopt.search import search as module
from edgeopt.search.front import Front, Point
from edgeopt.search.search import SearchRequest

_TINY = str(Path(__file__).parent.parent / "tiny_recipe.toml")
_POINT = Point("c001", 0.875, 1.25, 2e6, "recipes/c001.toml", "candidates/c001/final/bundle", missed=())


def _run(monkeypatch: pytest.MonkeyPatch, front: Front, *arguments: str) -> tuple[int, str, list[SearchRequest]]:
    asked: list[SearchRequest] = []

    def search(request: SearchRequest) -> Front:
        asked.append(request)
        return front

    monkeypatch.setattr(module, "search", search)
    result = CliRunner().invoke(app, ["search", _TINY, *arguments])
    return result.exit_code, result.output, asked


def test_options_reach_the_search_and_the_front_is_printed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    front = Front("accuracy", (_POINT,), ("p50_ms<=2",), True, "", 4, 1, 9.0)
    options = ["--budget", "p50_ms<=2", "--time", "2h", "--workers", "3", "--out", str(tmp_path), "-t", "a", "-t", "b"]
    code, output, (request,) = _run(monkeypatch, front, *options)
    assert code == 0 and "0.8750" in output and "recipes/c001.toml" in output
    assert (request.budgets, request.seconds, request.workers) == (("p50_ms<=2",), 7200.0, 3)
    assert request.targets == ("a", "b") and request.folder == tmp_path


def test_json_has_the_points_and_the_code_says_whether_budgets_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    front = Front("accuracy", (_POINT,), ("p50_ms<=1",), False, "p50_ms<=1 is out of reach", 4, 1, 9.0)
    code, output, _ = _run(monkeypatch, front, "--format", "json", "--quiet")
    assert code == 1
    values = json.loads(output[output.index("{") : output.rindex("}") + 1])
    assert values["points"][0]["p50_ms"] == 1.25
    assert "out of reach" in output


def test_a_time_that_is_none_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, asked = _run(monkeypatch, Front("", (), (), True, "", 0, 0, 0.0), "--time", "soon")
    assert code != 0 and not asked
