"""What a recipe leaves open."""

from __future__ import annotations

from torch import nn

from edgeopt.train.config import AdapterOptions, TrainOptions
from edgeopt.train.defaults import settled


class Transformer(nn.Linear):
    def save_pretrained(self) -> None: ...


def test_the_learning_rate_depends_on_what_is_trained_from_what() -> None:
    plain, transformer = nn.Linear(1, 1), Transformer(1, 1)
    assert settled(TrainOptions(), plain).learning_rate == 1e-3
    assert settled(TrainOptions(), transformer).learning_rate == 5e-5
    assert settled(TrainOptions(), transformer, teacher=True).learning_rate == 2e-4
    assert settled(TrainOptions(adapter=AdapterOptions()), transformer).learning_rate == 5e-4
    assert settled(TrainOptions(learning_rate=0.5), transformer, teacher=True).learning_rate == 0.5
    assert settled(TrainOptions(), plain).freeze == []
