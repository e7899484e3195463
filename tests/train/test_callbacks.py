"""What a training reports: the line of a step, and the order of the calls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from edgeopt.data.samples import from_arrays
from edgeopt.train.callbacks import Callback, Step
from edgeopt.train.config import TrainOptions
from edgeopt.train.epoch import Evaluation
from edgeopt.train.loop import Session
from edgeopt.train.supervised import train_supervised
from edgeopt.train.watch import Score, Watch


def test_a_step_reads_as_parts_metric_and_speed() -> None:
    step = Step(7, 20, 1.5, {"soft": 1.25, "hard": 0.25}, 1e-3, 1234.5)
    assert step.line() == "soft 1.2500, hard 0.2500, 1,234 samples/s"
    scored = Evaluation(1_005, "accuracy", 0.875)
    assert step.line(scored) == "soft 1.2500, hard 0.2500, accuracy 0.8750 at step 1,005, 1,234 samples/s"
    assert Step(7, 20, 1.5, {"hard": 1.0}, samples_per_second=0.444).line() == "hard 1.0000, 0.44 samples/s"


class Notes(Callback):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def on_step(self, step: Step) -> None:
        assert step.steps == 4 and step.loss > 0 and step.samples_per_second > 0
        self.said.append(f"step {step.step}")

    def on_evaluate(self, evaluation: Evaluation, *, best: bool) -> None:
        self.said.append(f"evaluate {evaluation.step}{' best' if best else ''}")

    def on_save(self, checkpoint: Path) -> None:
        assert checkpoint.is_file()
        self.said.append("save")


def test_each_step_evaluation_and_checkpoint_is_reported_in_order(tmp_path: Path) -> None:
    torch.manual_seed(0)
    values = np.random.default_rng(0).standard_normal((16, 3)).astype(np.float32)
    samples = from_arrays({"input": values}, (values[:, 0] > 0).astype(np.int64))
    notes, merits = Notes(), iter([0.5, 0.4])
    watch = Watch(lambda _: Score("accuracy", merit := next(merits), merit), callbacks=(notes,))
    options = TrainOptions(epochs=2.0, batch_size=8, learning_rate=0.01, checkpoint_seconds=0)
    train_supervised(nn.Sequential(nn.Linear(3, 2)), samples, options=options, session=Session(0, tmp_path), watch=watch)
    assert notes.said == [
        "step 1", "save", "step 2", "evaluate 2 best", "save", "save", "step 3", "save", "step 4", "evaluate 4", "save"
    ]  # fmt: skip
