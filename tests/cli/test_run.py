"""`edgeopt run`: the plan of a recipe."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import edgeopt_here


def test_a_dry_run_prints_every_stage_with_its_reason_and_writes_nothing(tmp_path: Path) -> None:
    done = edgeopt_here("run", "quickstart", "--dry-run", "--out", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()[1:]]
    assert [line[0] for line in lines if line][:3] == ["teacher", "distill", "prune"]
    assert not (tmp_path / "run").exists()


def test_a_wrong_change_is_refused_before_anything_runs() -> None:
    done = edgeopt_here("run", "quickstart", "--set", "quantize.rnges=mse")
    assert done.returncode == 2 and "unknown key 'quantize.rnges' (did you mean 'ranges'?)" in done.stderr
    assert edgeopt_here("run", "quikstart").returncode == 2
