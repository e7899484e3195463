"""The training loop: exact resume, the order of batches, the schedule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeopt.data.samples import Samples, from_arrays
from edgeopt.train.config import TrainOptions
from edgeopt.train.loop import Session, _Run, fit
from edgeopt.train.supervised import train_supervised
from edgeopt.train.watch import Score, Watch


class KilledError(Exception):
    """Stands for kill -9 in the middle of a step."""


def data(count: int = 50) -> Samples:
    generator = np.random.default_rng(0)
    values = generator.standard_normal((count, 6)).astype(np.float32)
    return from_arrays({"input": values}, (values.sum(axis=1) > 0).astype(np.int64))


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 2))


def losses(samples: Samples, *, die_at: int | None = None):  # type: ignore[no-untyped-def]
    labels = torch.from_numpy(samples.labels)
    steps = 0

    def loss(model: nn.Module, inputs: Mapping[str, Tensor], indices: Sequence[int]) -> Tensor:
        nonlocal steps
        steps += 1
        if steps == die_at:
            raise KilledError
        return F.cross_entropy(model(**inputs), labels[list(indices)])

    return loss


def options(**values: object) -> TrainOptions:
    return TrainOptions.read({"epochs": 3.0, "batch_size": 8, "checkpoint_seconds": 0.0, **values}, where="test")


@pytest.mark.parametrize("die_at", [1, 2, 7, 8, 12, 21])
def test_a_killed_training_ends_with_the_same_weights_bit_by_bit(tmp_path: Path, die_at: int) -> None:
    samples = data()
    whole, resumed = network(), network()
    expected = fit(whole, samples, losses(samples), options=options(), session=Session(5))
    session = Session(5, tmp_path)
    with pytest.raises(KilledError):
        fit(network(), samples, losses(samples, die_at=die_at), options=options(), session=session)
    result = fit(resumed, samples, losses(samples), options=options(), session=session)
    assert result.resumed_from_step == die_at - 1
    assert result.history == expected.history
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_a_damaged_checkpoint_is_not_used(tmp_path: Path) -> None:
    samples = data()
    with pytest.raises(KilledError):
        fit(network(), samples, losses(samples, die_at=9), options=options(), session=Session(5, tmp_path))
    file = tmp_path / "training.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    assert fit(network(), samples, losses(samples), options=options(), session=Session(5, tmp_path)).resumed_from_step == 0


def test_training_learns() -> None:
    samples = data(400)
    model = network()
    result = train_supervised(model, samples, options=options(epochs=20.0, learning_rate=0.02), session=Session())
    assert [entry.epoch for entry in result.history] == list(range(1, 21))
    logits = model(torch.from_numpy(samples.collate(range(400))["input"]))
    assert (logits.argmax(1).numpy() == samples.labels).mean() > 0.95


def test_weights_at_the_end_of_the_time_are_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0] + [0.1] * 8)  # (the time ends after a step was found to be in time, before the next one)
    monkeypatch.setattr(_Run, "_share_done", lambda run: next(clock, 1.0) if run.state.step else 0.0)
    watch = Watch(lambda model: Score("accuracy", 0.5, 0.5))
    samples = data(200)
    result = fit(network(), samples, losses(samples), options=options(max_seconds=9.0), session=Session(), watch=watch)
    assert [one.step for one in result.evaluations] == [result.steps]
