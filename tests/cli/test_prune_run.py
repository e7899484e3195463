"""Shares and times of `edgeopt prune`, as people write them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgeopt.cli.prune_run import Pruning, share_of
from edgeopt.cli.training_inputs import seconds_of
from edgeopt.errors import ModelError, RecipeError
from edgeopt.models.model_size import ModelSize
from edgeopt.prune.config import PruneOptions
from edgeopt.prune.result import Allocation, PruneResult
from edgeopt.stages.pruned_files import ExportedFigures


def test_shares_and_times_are_read_as_people_write_them() -> None:
    assert [share_of("--macs", text) for text in (None, "0.5x", "0.5", "50%")] == [None, 0.5, 0.5, 0.5]
    assert [seconds_of("--time", text) for text in (None, "20m", "90s", "1h", "90", "2min")] == [None, 1200, 90, 3600, 90, 120]
    with pytest.raises(RecipeError, match=r"--macs half: write a share such as 0.5x"):
        share_of("--macs", "half")
    for text in ("soon", "-3m"):
        with pytest.raises(RecipeError, match=f"--time {text}"):
            seconds_of("--time", text)


def test_a_plan_on_a_shorter_sample_is_no_fault_of_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Students of three layers were refused when the calibration's first sample was shorter than the training's.

    A classifier's file reads one token of the last layer, so that what it keeps is another share than that of the model.
    """
    files = ExportedFigures(1700, 83_000, 7000), ExportedFigures(1500, 50_500, 6000)
    monkeypatch.setattr(Pruning, "exported", lambda *_, **__: files)
    whole, left = ModelSize(1700, 7000, 112_000), ModelSize(1500, 6000, 55_000)
    plan = Allocation("multiply-accumulates", whole=90_000, budget=45_000, planned=44_500)
    result = PruneResult(path=tmp_path, before=whole, after=left, layers=(), history=(), spared={}, allocation=plan)
    run, options = Pruning("student", "sst2", "x86-vnni"), PruneOptions(macs=0.5)
    assert list(run.exported_lines(result, options)) == ["exported: 0.01 MB of 0.01, 1,500 parameters"]
    still = replace(result, after=ModelSize(1500, 6000, 50_000))
    with pytest.raises(ModelError, match=r"keeps 0\.608 of the macs, 0\.494 were planned"):
        list(run.exported_lines(still, options))
