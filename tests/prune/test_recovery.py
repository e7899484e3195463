"""Recovery: classifiers and language models come nearer to their teacher; none and fit train nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from edgeopt.prune.config import PruneOptions
from edgeopt.prune.losses import Judge
from edgeopt.prune.recovery import recover, training
from edgeopt.train.config import TrainOptions
from edgeopt.train.loop import Session, TrainResult
from tests.prune.tiny_models import TinyDetector, texts, tiny, tiny_detector


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_training_brings_the_outputs_nearer_to_the_teachers(family: str) -> None:
    teacher, _, _ = tiny(family)
    other, _, _ = tiny(family, seed=1)
    samples = texts(16)
    judge = Judge(teacher, samples)
    judge.model = other
    before = judge()
    options = PruneOptions(loss={"soft_weight": 1.0}, train=TrainOptions(epochs=8, batch_size=8, learning_rate=3e-3))  # type: ignore[arg-type]
    history = recover(other, teacher, samples, options, Session(), None)
    assert len(history) == 8 and judge() < 0.8 * before


def test_low_rank_updates_are_merged_and_time_ends_the_training() -> None:
    teacher, _, _ = tiny("bert")
    other, _, _ = tiny("bert", seed=1)
    names = list(other.state_dict())
    options = PruneOptions(recovery="lora", train=TrainOptions(batch_size=4, learning_rate=1e-2))
    before = other.bert.encoder.layer[0].output.dense.weight.clone()
    recover(other, teacher, texts(8), options, Session(), 1.0)
    assert list(other.state_dict()) == names
    assert not torch.equal(before, other.bert.encoder.layer[0].output.dense.weight)


def test_nothing_is_trained_without_training() -> None:
    model, _, _ = tiny("bert")
    for recovery in ("fit", "none"):
        assert recover(model, model, texts(4), PruneOptions(recovery=recovery), Session(), None) == ()


def test_a_transformer_is_trained_more_slowly_unless_the_rate_is_given() -> None:
    assert training(PruneOptions(), transformer=True, seconds=None).learning_rate == 1e-4
    assert training(PruneOptions(), transformer=False, seconds=None).learning_rate == 1e-3
    given = PruneOptions(train=TrainOptions(learning_rate=2e-3))
    assert training(given, transformer=True, seconds=None).learning_rate == 2e-3


def test_a_detector_learns_where_objects_are_and_not_the_boxes_of_empty_cells() -> None:
    teacher, samples = tiny_detector(16)
    torch.manual_seed(1)
    student = TinyDetector()
    judge = Judge(teacher, samples)
    judge.model = student
    before = judge()
    train = TrainOptions(epochs=30, batch_size=8, learning_rate=1e-2)
    recover(student, teacher, samples, PruneOptions(train=train), Session(), None)
    assert judge() < 0.5 * before
    given = torch.from_numpy(samples.collate(range(16))["images"])
    with torch.no_grad():
        wanted, found = (model(given)[:, 0].flatten() for model in (teacher, student))
    assert torch.corrcoef(torch.stack([wanted, found]))[0, 1] > 0.5


def test_a_classifier_recovers_without_labels() -> None:
    teacher, _, _ = tiny("bert")
    samples = replace(texts(8), labels=None)
    assert (
        len(recover(tiny("bert", seed=1)[0], teacher, samples, PruneOptions(train=TrainOptions(epochs=2)), Session(), None))
        == 2
    )


def test_a_detector_is_trained_slowly_unless_the_rate_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr("edgeopt.prune.recovery.teach", lambda *_, lesson, **__: seen.append(lesson) or TrainResult(0, (), 0))
    teacher, samples = tiny_detector()
    for given in (None, 2e-3):
        recover(TinyDetector(), teacher, samples, PruneOptions(train=TrainOptions(learning_rate=given)), Session(), None)
    assert [(lesson.train.learning_rate, lesson.loss.soft_weight) for lesson in seen] == [(1e-4, 1.0), (2e-3, 1.0)]


def test_rounds_share_epochs_or_time() -> None:
    rounds = PruneOptions(macs=0.25, rounds=2, train=TrainOptions(epochs=4.0, max_seconds=60.0)).in_round(0)
    found = training(rounds, transformer=True, seconds=None)
    assert (found.epochs, found.max_seconds) == (2.0, 30.0)
    timed = training(PruneOptions(macs=0.25, rounds=2).in_round(1), transformer=True, seconds=9.0)
    assert timed.max_seconds == 9.0 and timed.epochs > 100  # (the time ends it, not a part of the default's epochs)
