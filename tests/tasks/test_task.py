"""What all tasks share: calling any model, sums of losses, outputs by name."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from edgeopt.errors import ModelError
from edgeopt.tasks.single_label import SingleLabel
from edgeopt.tasks.task import LossSum, output_named, share_of_same


class Gives(nn.Module):
    def __init__(self, value: object) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: torch.Tensor) -> object:
        return self.value


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (torch.ones(1), ["logits"]),
        ((torch.ones(1), torch.ones(2)), ["output_0", "output_1"]),
        ({"boxes": torch.ones(1), "loss": None}, ["boxes"]),
    ],
)
def test_any_models_tensors_have_names(value: object, names: list[str]) -> None:
    assert list(SingleLabel().call(Gives(value), {"x": torch.zeros(1)})) == names


def test_a_model_without_tensors_is_an_error() -> None:
    with pytest.raises(ModelError, match="Gives returns str without tensors"):
        SingleLabel().call(Gives("text"), {"x": torch.zeros(1)})


def test_a_loss_that_counts_nothing_is_zero() -> None:
    assert float(LossSum(torch.tensor(0.0), 0).mean()) == 0.0
    assert float(LossSum(torch.tensor(6.0), torch.tensor(4)).mean()) == 1.5


def test_the_first_output_stands_in_for_one_of_another_name() -> None:
    outputs = {"a": np.array([1]), "logits": np.array([2])}
    assert output_named(outputs, "logits") is outputs["logits"]
    assert output_named({"a": outputs["a"]}, "logits") is outputs["a"]


def test_answers_of_other_lengths_share_nothing() -> None:
    assert share_of_same([np.array([1, 2]), np.array([3])], [np.array([1, 0]), np.array([3])]) == pytest.approx(2 / 3)
    assert share_of_same([np.arange(3)], [np.arange(4)]) is None
    assert share_of_same([np.zeros(0)], [np.zeros(0)]) is None
