"""Runs: what is finished is not redone, what changed is, a killed run ends as if it had not been killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeopt.errors import ModelError
from edgeopt.pipeline import Pipeline, RunResult, _device_name, _source_hashes
from edgeopt.recipe import load_recipe
from edgeopt.store import Store
from edgeopt.targets.target import load_target

RECIPE = str(Path(__file__).parent / "tiny_recipe.toml")
STAGES = [
    "teacher",
    "distill",
    "prune",
    "export",
    "export-distill",
    "export-teacher",
    "quantize",
    "verify",
    "profile",
    "bundle",
]
TIMED = {"profile"}
QUICK = {"quantize", "verify", "bundle"}
"""Stages that last a tenth of a second, and must be killed at once."""


def pipeline(folder: Path, *changes: str) -> Pipeline:
    return Pipeline(load_recipe(RECIPE, changes), folder)


def digests(result: RunResult) -> dict[str, str]:
    return {
        outcome.artifact.stage: outcome.artifact.digest for outcome in result.outcomes if outcome.artifact.stage not in TIMED
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return pipeline(tmp_path_factory.mktemp("run")).run()


def actions(folder: Path, *changes: str) -> dict[str, str]:
    return {stage.name: stage.action for stage in pipeline(folder, *changes).plan()}


def test_every_stage_is_made_and_the_bundle_is_there(finished: RunResult) -> None:
    assert [outcome.artifact.stage for outcome in finished.outcomes] == STAGES
    assert all(outcome.made for outcome in finished.outcomes)
    assert (finished.bundle / "model.onnx").is_file()
    assert (finished.folder / "recipe.toml").is_file()


def test_a_second_run_redoes_nothing(finished: RunResult) -> None:
    start = time.monotonic()
    again = pipeline(finished.folder).run()
    assert time.monotonic() - start < 3
    assert not any(outcome.made for outcome in again.outcomes)
    assert digests(again) == digests(finished)


def test_two_runs_make_the_same_bytes(finished: RunResult, tmp_path: Path) -> None:
    assert digests(pipeline(tmp_path).run()) == digests(finished)


@pytest.mark.parametrize(
    ("change", "first"),
    [
        ("teacher.train.epochs=3", "teacher"),
        ("distill.loss.temperature=2.0", "distill"),
        ("prune.macs=0.7", "prune"),
        ("export.opset=20", "export"),
        ("quantize.ranges=min-max", "quantize"),
        ("verify.max_drop_points=30.0", "verify"),
        ("profile.seconds=2.0", "profile"),
        ("bundle.golden_samples=3", "bundle"),
    ],
)
def test_a_change_redoes_its_stage_and_what_follows(finished: RunResult, change: str, first: str) -> None:
    follows = {
        "teacher": set(STAGES),
        "distill": set(STAGES) - {"teacher", "export-teacher"},
        "prune": set(STAGES) - {"teacher", "distill", "export-distill", "export-teacher"},
        "export": {"export", "export-distill", "export-teacher", "quantize", "verify", "profile", "bundle"},
        "quantize": {"quantize", "verify", "profile", "bundle"},
    }
    expected = follows.get(first, {first, "bundle"})  # the bundle carries the recipe
    planned = actions(finished.folder, change)
    assert {name for name, action in planned.items() if action == "run"} == expected


def test_the_plan_says_what_changed(finished: RunResult) -> None:
    planned = {stage.name: stage.reason for stage in pipeline(finished.folder, "quantize.ranges=min-max").plan()}
    assert planned["quantize"] == "ranges: auto → min-max"
    assert planned["verify"] == "its input quantize is made again"


@pytest.mark.parametrize(("split", "first"), [("train", "teacher"), ("calibration", "export"), ("evaluation", "verify")])
def test_other_samples_redo_only_what_reads_them(finished: RunResult, split: str, first: str) -> None:
    planned = actions(finished.folder, f"data.{split}_limit=30")
    assert planned[first] == "run"
    assert all(planned[name] == "cached" for name in STAGES[: STAGES.index(first)])


@pytest.mark.parametrize(("stage", "name"), [("quantize", "model.onnx"), ("teacher", "model.safetensors")])
def test_a_flipped_byte_is_named_and_the_stage_made_anew(finished: RunResult, stage: str, name: str) -> None:
    artifact = next(outcome.artifact for outcome in finished.outcomes if outcome.artifact.stage == stage)
    path = artifact.folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(bytes(content))
    planned = {item.name: item for item in pipeline(finished.folder).plan()}
    assert planned[stage].action == "run"
    assert name in planned[stage].reason
    again = pipeline(finished.folder).run()
    repaired = next(outcome for outcome in again.outcomes if outcome.artifact.stage == stage)
    assert repaired.made
    assert name in repaired.warnings[0]
    assert digests(again) == digests(finished)


def start(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "edgeopt", "run", RECIPE, "--out", str(folder)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


def kill_when(process: subprocess.Popen[str], seen: Callable[[str], bool], *, delay: float) -> list[str]:
    """Kill the process `delay` seconds after it printed a line that `seen` accepts; return its lines so far."""
    lines: list[str] = []
    assert process.stderr is not None
    with process.stderr:
        for line in process.stderr:
            lines.append(line.rstrip())
            if seen(line):
                time.sleep(delay)
                break
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    return lines


@pytest.mark.timeout(280)
def test_a_run_killed_in_every_stage_ends_in_the_same_artifacts(finished: RunResult, tmp_path: Path) -> None:
    for stage in STAGES:
        delay = 0.02 if stage in QUICK else 0.3
        lines = kill_when(start(tmp_path), lambda line, stage=stage: line.startswith(f"{stage}: running"), delay=delay)  # type: ignore[misc]
        assert any(line.startswith(f"{stage}: running") for line in lines), f"{stage} was not reached: {lines}"
    last = start(tmp_path)
    assert last.stderr is not None
    last.stderr.read()
    last.stderr.close()
    assert last.wait() == 0
    assert digests(pipeline(tmp_path).run()) == digests(finished)


def test_a_killed_training_goes_on_from_its_checkpoint(finished: RunResult, tmp_path: Path) -> None:
    process = start(tmp_path)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("work/teacher-*/checkpoint/training.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert list(tmp_path.glob("work/teacher-*/checkpoint/training.safetensors")), (
        "the training was over before it could be killed"
    )
    lines = kill_when(start(tmp_path), lambda line: line.startswith("teacher: done"), delay=0)
    assert any("resumed from step" in line for line in lines), lines
    result = Store(tmp_path).latest("teacher")
    assert result is not None
    assert result.digest == digests(finished)["teacher"]


def test_two_runs_at_once_on_one_folder_wait_for_each_other(finished: RunResult, tmp_path: Path) -> None:
    first, second = start(tmp_path), start(tmp_path)
    errors = [process.communicate()[1] for process in (first, second)]
    assert first.returncode == second.returncode == 0
    assert sum("waiting for it" in text for text in errors) == 1
    assert sum("teacher: cached" in text for text in errors) == 1
    assert digests(pipeline(tmp_path).run()) == digests(finished)


def test_two_sources_of_one_name_are_both_part_of_the_key(tmp_path: Path) -> None:
    paths = [tmp_path / folder / "more.csv" for folder in ("a", "b")]
    for path in paths:
        path.parent.mkdir()
        path.write_text(str(path))
    assert list(_source_hashes(paths[:1])) == ["more.csv"]
    both = _source_hashes(paths)
    paths[0].write_text("other")
    assert len(both) == 2 and _source_hashes(paths) != both
    with pytest.raises(ModelError, match="no such model"):
        _source_hashes([tmp_path / "none"])


def test_targets_of_one_machine_share_its_lock() -> None:
    assert len({_device_name(load_target(name)) for name in ("x86-vnni", "x86-avx2", "qnn-htp-emulated")}) == 1
    board = load_target("x86-vnni")
    board = board.model_copy(update={"device": board.device.model_copy(update={"host": "board:22"})})
    assert _device_name(board) == "board-22"
