from __future__ import annotations

import dataclasses

import pytest
import torch

from edgeopt.quantize.training import block_wise
from edgeopt.quantize.training.block_wise import train_blocks
from edgeopt.quantize.training.run import TrainingRun, held_db


def _state(work: TrainingRun) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in work.module.state_dict().items()}


def test_blocks_gain_on_samples_held_aside(residual_run: TrainingRun) -> None:
    before = held_db(residual_run)
    assert train_blocks(residual_run, seconds=600, steps=20) >= 1
    assert held_db(residual_run) > before + 0.2


def test_steps_that_do_harm_are_taken_back(residual_run: TrainingRun) -> None:
    before = _state(residual_run)
    options = residual_run.options.model_copy(update={"block_learning_rate": 40.0})
    assert train_blocks(dataclasses.replace(residual_run, options=options), seconds=600, steps=3) == 0
    assert all(torch.equal(value, before[name]) for name, value in _state(residual_run).items())


def test_steps_are_few_where_there_is_no_time(residual_run: TrainingRun, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    inner = block_wise.warmed
    monkeypatch.setattr(block_wise, "warmed", lambda *given: made.append(given) or inner(*given))
    train_blocks(residual_run, seconds=0.0, steps=None)
    assert len(made) == 3 * 8


def test_blocks_that_are_trained_are_not_trained_again(residual_run: TrainingRun) -> None:
    states: list[dict[str, torch.Tensor]] = []
    train_blocks(residual_run, seconds=600, steps=10, after=lambda _: states.append(_state(residual_run)))
    assert len(states) == 3
    residual_run.module.load_state_dict(states[1])
    counts: list[int] = []
    train_blocks(residual_run, seconds=600, steps=10, first=2, after=counts.append)
    assert counts == [3]
    assert all(torch.equal(value, states[2][name]) for name, value in _state(residual_run).items())
