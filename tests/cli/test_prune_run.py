"""Shares and times of `edgeopt prune`, as people write them."""

from __future__ import annotations

import pytest

from edgeopt.cli.prune_run import share_of
from edgeopt.cli.training_inputs import seconds_of
from edgeopt.errors import RecipeError


def test_shares_and_times_are_read_as_people_write_them() -> None:
    assert [share_of("--macs", text) for text in (None, "0.5x", "0.5", "50%")] == [None, 0.5, 0.5, 0.5]
    assert [seconds_of("--time", text) for text in (None, "20m", "90s", "1h", "90", "2min")] == [None, 1200, 90, 3600, 90, 120]
    with pytest.raises(RecipeError, match=r"--macs half: write a share such as 0.5x"):
        share_of("--macs", "half")
    for text in ("soon", "-3m"):
        with pytest.raises(RecipeError, match=f"--time {text}"):
            seconds_of("--time", text)
