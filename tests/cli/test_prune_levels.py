"""`edgeopt prune --levels`: a sweep with report, resumed level by level; latency budgets from the shell."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from edgeopt.cli.app import app
from edgeopt.cli.prune_levels import read_levels
from edgeopt.errors import RecipeError
from tests.prune.tiny_models import texts, tiny

_QUICK = ["--set", "search_rounds=2", "--set", "recovery=fit", "-q"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    tiny("bert")[0].save_pretrained(tmp_path / "whole")
    samples = texts(16)
    arrays = {name: np.stack([samples[index][name] for index in range(16)]) for name in samples[0]}
    np.savez(tmp_path / "data.npz", **arrays, labels=samples.labels)
    return tmp_path


def test_levels_are_pruned_reported_and_not_redone(place: Path) -> None:
    data, report = str(place / "data.npz"), place / "report"
    command = [
        "prune",
        str(place / "whole"),
        "--train",
        data,
        "--evaluate",
        data,
        "--levels",
        "20,40,99",
        "--by",
        "parameters",
        "--report",
        str(report),
    ]
    done = CliRunner().invoke(app, [*command, "--sensitivity", *_QUICK], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found = json.loads((report / "report.json").read_text())
    assert [row["level"] for row in found["levels"]] == [0, 20, 40, 99]
    sizes = [row["size_bytes"] for row in found["levels"][:3]]
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == 3
    assert "cannot be reached" in found["levels"][3]["problem"]
    assert all(row["value"] is not None and row["latency_ms"] > 0 for row in found["levels"][:3])
    assert len(found["parts"]) == 4
    assert (report / "report.html").read_text().count("<svg") == 6
    stamp = (report / "level-20" / "model.json").stat().st_mtime_ns
    (report / "level-40.json").unlink()
    done = CliRunner().invoke(app, [*command, *_QUICK], catch_exceptions=False)
    assert done.exit_code == 0 and (report / "level-40.json").is_file()
    assert (report / "level-20" / "model.json").stat().st_mtime_ns == stamp


def test_a_latency_budget_is_measured_on_the_target(place: Path) -> None:
    command = ["prune", str(place / "whole"), "--train", str(place / "data.npz"), "--target", "host", "--latency", "0.8x"]
    done = CliRunner().invoke(app, [*command, "-o", str(place / "slim"), *_QUICK], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "ms predicted" in done.output and "measured on host, fp32" in done.output


def test_wrong_levels_are_refused(place: Path) -> None:
    assert read_levels("50, 10%,30") == [10, 30, 50]
    for text in ("0", "100", "ten"):
        with pytest.raises(RecipeError, match="percentages to remove"):
            read_levels(text)
    with pytest.raises(RecipeError, match="give --report FOLDER"):
        CliRunner().invoke(app, ["prune", "m", "--train", "d", "--levels", "10"], catch_exceptions=False)
    with pytest.raises(RecipeError, match="--by time"):
        CliRunner().invoke(
            app,
            ["prune", "m", "--train", "d", "--levels", "10", "--report", str(place / "r"), "--by", "time"],
            catch_exceptions=False,
        )
