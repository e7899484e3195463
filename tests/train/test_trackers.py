"""TensorBoard by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from torch import nn

from edgeopt.data.samples import from_arrays
from edgeopt.errors import RecipeError
from edgeopt.train.config import TrainOptions
from edgeopt.train.loop import Session
from edgeopt.train.supervised import train_supervised
from edgeopt.train.trackers import open_accelerator


def train(logs: Path | None, trackers: list[str]) -> None:
    samples = from_arrays({"input": np.zeros((8, 3), np.float32)}, np.arange(8) % 2)
    options = TrainOptions(epochs=1.0, batch_size=4, trackers=trackers)
    train_supervised(nn.Linear(3, 2), samples, options=options, session=Session(0, logs=logs))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_files_are_written(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    train(tmp_path, ["tensorboard"])
    assert list(tmp_path.rglob("events.out.tfevents.*"))


def test_unknown_trackers_and_missing_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"train\.trackers"):
        train(tmp_path, ["no-such-tracker"])
    pytest.importorskip("tensorboard")
    with pytest.raises(RecipeError, match="needs a folder for its files"):
        train(None, ["tensorboard"])


def test_trainings_of_other_precision_follow_each_other_in_one_process() -> None:
    for wanted in ("bf16", "no", "bf16"):
        assert open_accelerator(TrainOptions(), wanted, None).mixed_precision == wanted
