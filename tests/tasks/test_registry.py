"""Tasks by name, alias and module:callable."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeopt.data.annotations import BoxTruth, SpanTruth
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


@pytest.mark.parametrize(
    ("annotation", "group", "name"),
    [
        (BoxTruth(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, bool)), 1, "object-detection"),
        (SpanTruth(0, 1, ("a",)), 1, "question-answering"),
        ("words", 1, "text2text-generation"),
        (2.5, 1, "regression"),
        (2.5, 2, "sentence-embeddings"),
        (np.zeros((4, 4), np.uint8), 1, "semantic-segmentation"),
        (np.array([1, 0, 1], np.uint8), 1, "multi-label-classification"),
        (np.array([1, 0, 4, -100]), 1, "token-classification"),
    ],
)
def test_each_kind_of_label_is_for_one_task(annotation: object, group: int, name: str) -> None:
    samples = replace(from_arrays({"x": np.zeros((2, 1), np.float32)}), annotations=[annotation] * 2, group=group)
    assert task_for(samples).name == name
    assert task_for(samples, "text-classification").name == name
