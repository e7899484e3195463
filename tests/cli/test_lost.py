"""What a smaller model lost: metric, paired difference and agreement, on evaluation samples or on those of the training."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from edgeopt.cli.lost import Candidate, lost_lines, seen_lines
from edgeopt.data.samples import Samples, from_arrays
from edgeopt.models.load import LoadedModel


class Sign(nn.Module):
    """Logits of two classes: is the number above `limit`?"""

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.limit = nn.Parameter(torch.tensor(limit))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.limit - x, x - self.limit], dim=1)


def numbers(*, labelled: bool) -> Samples:
    values = np.arange(-50, 50, dtype=np.float32)[:, None] + 0.5
    return from_arrays({"x": values}, (values[:, 0] > 0).astype(np.int64) if labelled else None)


def pair(limit: float, *, labelled: bool = True) -> tuple[Candidate, Candidate]:
    samples = numbers(labelled=labelled)
    whole, smaller = (LoadedModel(Sign(value).eval(), "image-classification", None) for value in (0.0, limit))
    return Candidate("whole", whole, samples), Candidate("smaller", smaller, samples)


def test_ten_answers_of_a_hundred_are_lost() -> None:
    lines = list(lost_lines(*pair(10.0)))
    assert lines[:2] == ["accuracy of whole: 1.0000", "accuracy of smaller: 0.9000"]
    assert lines[2].startswith("difference: -0.1000 (-0.1") and lines[2].endswith("10 of 100 answers changed")


def test_without_labels_the_answers_are_compared() -> None:
    (line,) = lost_lines(*pair(20.0, labelled=False))
    # every logit is 20 off; their root mean square is that of the numbers -49.5 … 49.5, 28.87
    assert line == "compared with whole: agreement 0.8000, output error 69.3%"


def test_training_samples_are_named_as_such() -> None:
    (line,) = seen_lines(*pair(10.0))
    assert line.startswith("on 100 training samples, compared with whole: agreement 0.9000, output error 34.6%")
    assert line.endswith("accuracy 0.9000 of 1.0000; --evaluate DATA judges on others")
