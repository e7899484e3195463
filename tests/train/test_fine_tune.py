"""Fine-tuning on labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgeopt.data.samples import Samples, from_arrays
from edgeopt.errors import DataError
from edgeopt.models.load import LoadedModel, Origin, load_model
from edgeopt.models.residual_cnn import ResidualCNN
from edgeopt.tasks.single_label import SingleLabel
from edgeopt.train.config import TrainOptions
from edgeopt.train.fine_tune import fine_tune, save_trained
from edgeopt.train.loop import Session

_OPTIONS = TrainOptions(epochs=8.0, batch_size=20, learning_rate=0.02)


def samples(count: int, seed: int) -> Samples:
    values = np.random.default_rng(seed).standard_normal((count, 6)).astype(np.float32)
    return from_arrays({"input": values}, (values.sum(axis=1) > 0).astype(np.int64))


def model(classes: int = 2) -> LoadedModel:
    torch.manual_seed(0)
    return LoadedModel(nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, classes)), None, None)


def test_it_learns_and_keeps_the_best_weights() -> None:
    result = fine_tune(model(), samples(200, 0), SingleLabel(), options=_OPTIONS, session=Session(), evaluation=samples(100, 1))
    values = [evaluation.value for evaluation in result.evaluations]
    assert len(values) == 8
    assert max(values) > 0.9
    assert result.kept_step == result.evaluations[int(np.argmax(values))].step


def test_labels_that_are_missing_or_impossible_are_named() -> None:
    unlabelled = from_arrays({"input": np.zeros((4, 6), np.float32)})
    with pytest.raises(DataError, match="the training split has no labels"):
        fine_tune(model(), unlabelled, SingleLabel(), options=_OPTIONS, session=Session())
    wrong = from_arrays({"input": np.zeros((4, 6), np.float32)}, np.array([0, 1, 2, 1]))
    with pytest.raises(DataError, match="labels from 0 to 2 are impossible for a model of 2 classes"):
        fine_tune(model(), wrong, SingleLabel(), options=_OPTIONS, session=Session())
    with pytest.raises(DataError, match="has no samples"):
        fine_tune(model(), samples(4, 0).take([]), SingleLabel(), options=_OPTIONS, session=Session())


def test_what_is_saved_loads_again(tmp_path: Path) -> None:
    arguments = {"width": 8, "stages": 1, "blocks": 1}
    origin = Origin("edgeopt.models.residual_cnn:ResidualCNN", arguments)
    trained = LoadedModel(ResidualCNN(**arguments).eval(), None, None, origin=origin)
    images = from_arrays({"image": np.zeros((2, 1, 8, 8), np.float32)})
    save_trained(trained, images, tmp_path / "out")
    again = load_model(tmp_path / "out").module.state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in trained.module.state_dict().items())
