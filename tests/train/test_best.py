"""The weights of the best evaluation."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from edgeopt.errors import IntegrityError
from edgeopt.train.best import BestWeights
from edgeopt.train.checkpoint import Progress


def model(value: float) -> nn.Linear:
    made = nn.Linear(2, 1, bias=False)
    nn.init.constant_(made.weight, value)
    return made


def offered(folder: Path | None, merits: list[float]) -> tuple[BestWeights, Progress, list[bool]]:
    """Offer one model a step, whose weights are all the step's number."""
    state = Progress()
    best, kept = BestWeights(folder, state), []
    for step, merit in enumerate(merits, 1):
        state.step = step
        kept.append(best.offer(model(step), merit, main=True))
    return best, state, kept


@pytest.mark.parametrize("on_disk", [True, False])
def test_the_first_of_the_largest_merits_is_kept(tmp_path: Path, on_disk: bool) -> None:
    best, state, kept = offered(tmp_path if on_disk else None, [-2.0, -1.0, -1.0, math.nan, -3.0])
    assert kept == [True, True, False, False, False]
    assert (state.best_step, state.best_merit) == (2, -1.0)
    last = model(5)
    assert best.restore(last) == 2
    assert torch.equal(last.weight, model(2).weight)


@pytest.mark.parametrize("merits", [[], [math.nan, math.nan]])
def test_without_an_evaluation_that_counts_the_weights_stay(merits: list[float]) -> None:
    best, _, kept = offered(None, merits)
    last = model(9)
    assert not any(kept) and best.restore(last) is None
    assert torch.equal(last.weight, model(9).weight)


def test_older_files_go_only_when_told(tmp_path: Path) -> None:
    best, _, _ = offered(tmp_path, [0.1, 0.2])
    names = {file.name for file in tmp_path.iterdir()}
    assert names == {"best-1.safetensors", "best-2.safetensors"}  # a checkpoint may still name the first
    best.forget_others()
    assert [file.name for file in tmp_path.iterdir()] == ["best-2.safetensors"]


def test_other_processes_write_nothing_and_read_what_the_first_wrote(tmp_path: Path) -> None:
    state = Progress(step=1)
    second = BestWeights(tmp_path, state)
    assert second.offer(model(1), 0.5, main=False) and not list(tmp_path.iterdir())
    BestWeights(tmp_path, Progress(step=1)).offer(model(1), 0.5, main=True)
    restored = model(0)
    assert second.restore(restored) == 1 and torch.equal(restored.weight, model(1).weight)


def test_evaluations_since_the_best_are_counted() -> None:
    best, state, _ = offered(None, [0.1, 0.9, 0.3])
    state.evaluations = [{"step": step} for step in (1, 2, 3, 4)]
    assert best.worse_since(state) == 2


def test_a_flipped_bit_is_not_loaded(tmp_path: Path) -> None:
    best, _, _ = offered(tmp_path, [0.5])
    file = tmp_path / "best-1.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    untouched = model(7)
    with pytest.raises(IntegrityError, match=r"best-1\.safetensors: damaged"):
        best.restore(untouched)
    assert torch.equal(untouched.weight, model(7).weight)
