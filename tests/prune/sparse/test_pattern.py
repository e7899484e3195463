"""Patterns of zeros: shares of a row, and n of every m."""

from __future__ import annotations

import pytest
import torch

from edgeopt.prune.sparse.pattern import Pattern, read_pattern


def test_a_share_takes_the_smallest_of_each_row() -> None:
    left = read_pattern("0.5").mask(torch.tensor([[4.0, 1.0, 3.0, 2.0], [1.0, 2.0, 3.0, 4.0]]))
    assert left.tolist() == [[True, False, True, False], [False, False, True, True]]


def test_two_of_four_are_left_in_every_group() -> None:
    pattern = read_pattern("2:4")
    assert pattern == Pattern(0.5, 2, 4)
    left = pattern.mask(torch.arange(20.0).reshape(2, 10))
    assert left[:, :8].reshape(-1, 4).sum(1).tolist() == [2, 2, 2, 2]
    assert left[:, 8:].all()  # the last two fill no group


def test_one_of_four_leaves_one() -> None:
    assert read_pattern("1:4").mask(torch.tensor([[1.0, 5.0, 2.0, 3.0]])).tolist() == [[False, True, False, False]]


@pytest.mark.parametrize(
    ("text", "said"), [("4:4", "at most 3"), ("0:4", "at least one"), ("1.0", "between 0 and 1"), ("half", "2:4")]
)
def test_what_cannot_be_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_pattern(text)
