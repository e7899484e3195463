"""Tasks by name, alias and module:callable."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeopt.data.samples import from_arrays
from edgeopt.errors import RecipeError
from edgeopt.tasks.outputs_only import OutputsOnly
from edgeopt.tasks.registry import ALIASES, TASKS, find_task, task_for
from edgeopt.tasks.single_label import SingleLabel


def test_every_alias_names_a_task_that_can_be_made() -> None:
    assert set(ALIASES.values()) <= set(TASKS)
    assert not set(ALIASES) & set(TASKS)
    for name, make in TASKS.items():
        assert make().name == name


@pytest.mark.parametrize("name", ["text-classification", "sequence-classification", "audio-classification"])
def test_the_names_of_the_hub_and_of_optimum_are_known(name: str) -> None:
    assert isinstance(find_task(name), SingleLabel)


def test_an_unknown_task_names_the_nearest() -> None:
    with pytest.raises(RecipeError, match=r"task 'text-clasification' is not known.*text-classification"):
        find_task("text-clasification")


def test_a_task_of_the_users_own_comes_from_module_and_callable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_task_here.py").write_text("from edgeopt.tasks.single_label import SingleLabel as Mine\nnone = 3\n")
    monkeypatch.chdir(tmp_path)
    assert isinstance(find_task("own_task_here:Mine"), SingleLabel)
    with pytest.raises(RecipeError, match="gives int; it must give"):
        find_task("own_task_here:none")
    with pytest.raises(RecipeError, match="cannot be made"):
        find_task("own_task_here:absent")


def test_labels_say_what_the_task_is_where_no_name_does() -> None:
    arrays = {"x": np.zeros((2, 1), np.float32)}
    assert isinstance(task_for(from_arrays(arrays, np.array([0, 1])), None, "generic"), SingleLabel)
    assert isinstance(task_for(from_arrays(arrays), None, "generic"), OutputsOnly)
    assert isinstance(task_for(from_arrays(arrays), "depth-estimation", "image-classification"), SingleLabel)
