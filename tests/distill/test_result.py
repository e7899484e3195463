"""What the result of distilling says of the weights that were kept, and of several students."""

from __future__ import annotations

from typing import Literal

from edgeopt.distill.result import DistillFacts, Trial
from edgeopt.models.model_size import ModelSize
from edgeopt.train.epoch import Evaluation

KINDS: tuple[tuple[Literal["distilled", "control"], int, float], ...] = (("distilled", 0, 0.2), ("control", 0, 0.5))
SIZE = ModelSize(1, 4, 1)
WER = (Evaluation(5, "WER", 0.2), Evaluation(9, "WER", 0.3))


def test_the_kept_evaluation_is_that_of_the_kept_step_and_not_the_largest() -> None:
    assert DistillFacts(SIZE, SIZE, 9, (), WER, kept_step=5).kept == WER[0]
    assert DistillFacts(SIZE, SIZE, 9, (), WER).kept == WER[1]
    assert DistillFacts(SIZE, SIZE, 9, ()).kept is None


def test_scores_are_those_of_one_kind() -> None:
    trials = tuple(Trial(kind, seed, "WER", value) for kind, seed, value in KINDS)
    facts = DistillFacts(SIZE, SIZE, 9, (), trials=trials)
    assert (facts.scores("distilled"), facts.scores("control")) == ((0.2,), (0.5,))
