"""Evaluation during a training: best weights, early stopping, callbacks, time limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeopt.data.samples import Samples, from_arrays
from edgeopt.train.callbacks import Callback, Step
from edgeopt.train.config import TrainOptions
from edgeopt.train.epoch import Evaluation
from edgeopt.train.loop import Session, fit
from edgeopt.train.watch import Score, Watch


def samples() -> Samples:
    values = np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32)
    return from_arrays({"input": values}, (values.sum(axis=1) > 0).astype(np.int64))


def loss(model: nn.Module, inputs: Mapping[str, Tensor], indices: Sequence[int]) -> Tensor:
    return F.cross_entropy(model(**inputs), torch.from_numpy(samples().labels[list(indices)]))


def options(**values: object) -> TrainOptions:
    return TrainOptions.read({"epochs": 4.0, "batch_size": 8, "learning_rate": 0.01, **values}, where="test")


class Scores:
    """Evaluations with given merits; remembers the weights that it saw."""

    def __init__(self, merits: Sequence[float]) -> None:
        self.merits, self.seen = list(merits), []

    def __call__(self, model: nn.Module) -> Score:
        assert not model.training
        self.seen.append(model.weight.detach().clone())
        merit = self.merits[len(self.seen) - 1]
        return Score("accuracy", merit, merit)


@pytest.mark.parametrize("folder", [True, False])
def test_the_best_weights_are_kept(tmp_path: Path, folder: bool) -> None:
    torch.manual_seed(0)
    model, scores = nn.Linear(6, 2), Scores([0.5, 0.8, 0.6, 0.7])
    result = fit(
        model, samples(), loss, options=options(), session=Session(0, tmp_path if folder else None), watch=Watch(scores)
    )
    assert [entry.step for entry in result.evaluations] == [5, 10, 15, 20]
    assert result.kept_step == 10
    assert torch.equal(model.weight, scores.seen[1])
    if folder:
        assert [file.name for file in tmp_path.glob("best-*")] == ["best-10.safetensors"]


def test_the_last_weights_are_kept_on_request() -> None:
    model, scores = nn.Linear(6, 2), Scores([0.9, 0.8, 0.7, 0.6])
    result = fit(model, samples(), loss, options=options(keep="last"), watch=Watch(scores))
    assert result.kept_step is None
    assert torch.equal(model.weight, scores.seen[-1])


def test_a_training_stops_after_too_many_worse_evaluations() -> None:
    scores = Scores([0.5, 0.9, 0.8, 0.7, 0.95, 0.99] + [0.1] * 20)
    result = fit(nn.Linear(6, 2), samples(), loss, options=options(evaluate_every=2, patience=3), watch=Watch(scores))
    assert result.steps == 18  # the best at step 12, then 14, 16, 18
    assert result.kept_step == 12


def test_a_training_killed_after_its_best_evaluation_still_ends_with_those_weights(tmp_path: Path) -> None:
    class Dead(Exception):  # noqa: N818
        pass

    class Killer(Callback):
        def on_step(self, step: Step) -> None:
            if step.step == 13:
                raise Dead

    torch.manual_seed(0)
    merits = [0.5, 0.8, 0.6, 0.7]
    whole, wanted = nn.Linear(6, 2), Scores(merits)
    start = {name: tensor.clone() for name, tensor in whole.state_dict().items()}
    fit(whole, samples(), loss, options=options(), watch=Watch(wanted))
    again = nn.Linear(6, 2)
    again.load_state_dict(start)
    session = Session(0, tmp_path)
    with pytest.raises(Dead):
        fit(
            again,
            samples(),
            loss,
            options=options(checkpoint_seconds=1000.0),
            session=session,
            watch=Watch(Scores(merits), [Killer()]),
        )
    later = Scores(merits[2:])
    result = fit(again, samples(), loss, options=options(), session=session, watch=Watch(later))
    assert result.resumed_from_step == 10
    assert result.kept_step == 10
    assert torch.equal(again.weight, whole.weight)


def test_callbacks_hear_of_steps_evaluations_and_checkpoints(tmp_path: Path) -> None:
    heard: list[str] = []

    class Ears(Callback):
        def on_step(self, step: Step) -> None:
            heard.append(f"step {step.step} of {step.steps}")
            assert step.loss == pytest.approx(step.parts["loss"])
            assert step.learning_rate > 0

        def on_evaluate(self, evaluation: Evaluation, *, best: bool) -> None:
            heard.append(f"{evaluation.metric} {evaluation.value} {best}")

        def on_save(self, checkpoint: Path) -> None:
            heard.append(checkpoint.name)

    chosen = options(epochs=1.0, checkpoint_seconds=1000.0)
    fit(nn.Linear(6, 2), samples(), loss, options=chosen, session=Session(0, tmp_path), watch=Watch(Scores([0.5]), [Ears()]))
    assert heard == [*(f"step {step} of 5" for step in range(1, 6)), "accuracy 0.5 True", "training.safetensors"]


def test_a_time_limit_ends_the_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("edgeopt.train.loop.time.monotonic", lambda: now[0])
    rates = []

    class Clock(Callback):
        def on_step(self, step: Step) -> None:
            rates.append(step.learning_rate)
            now[0] += 1.0

    chosen = options(epochs=100.0, max_seconds=10.0, schedule="linear", warmup=0.0)
    result = fit(nn.Linear(6, 2), samples(), loss, options=chosen, watch=Watch(Scores([0.5] * 9), [Clock()]))
    assert result.steps == 10
    assert rates == pytest.approx([0.01 * (1 - step / 10) for step in range(10)])
    assert result.evaluations[-1].step == 10
