"""The learning rate of every step."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from edgeopt.errors import RecipeError
from edgeopt.train.config import TrainOptions
from edgeopt.train.schedule import learning_rate


def rates(schedule: str, *, steps: int = 12, warmup: float = 0.25) -> list[float]:
    options = TrainOptions(learning_rate=0.4, warmup=warmup, schedule=schedule)
    return [learning_rate(options, step, steps) for step in range(steps)]


def test_the_rate_rises_in_equal_steps_and_then_falls() -> None:
    rising = [0.4 / 3, 0.8 / 3, 0.4]  # three of twelve steps
    for schedule in ("cosine", "linear", "inverse-sqrt", "constant"):
        assert rates(schedule)[:3] == pytest.approx(rising), schedule
    assert rates("linear")[3:] == pytest.approx([0.4 * (1 - k / 9) for k in range(9)])
    assert rates("cosine")[3:] == pytest.approx([0.2 * (1 + math.cos(math.pi * k / 9)) for k in range(9)])
    assert rates("inverse-sqrt")[3:] == pytest.approx([0.4 * math.sqrt(3 / k) for k in range(3, 12)])
    assert rates("constant")[3:] == [0.4] * 9


def test_without_a_rise_the_first_step_has_the_highest_rate() -> None:
    for schedule in ("cosine", "linear", "inverse-sqrt", "constant"):
        assert rates(schedule, warmup=0.0)[0] == pytest.approx(0.4), schedule


def test_one_step_is_a_schedule() -> None:
    assert rates("cosine", steps=1, warmup=0.1) == [0.4]


def test_a_schedule_of_the_users_maps_step_and_steps_to_a_factor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_schedule.py").write_text("def falling(step, steps):\n    return 1 - step / steps\n")
    monkeypatch.chdir(tmp_path)
    assert rates("my_schedule:falling", steps=4) == pytest.approx([0.4, 0.3, 0.2, 0.1])  # no rise of ours before it


def test_a_schedule_that_cannot_be_imported_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError, match=r"train\.schedule no_such_module:falling: cannot be imported"):
        rates("no_such_module:falling")
