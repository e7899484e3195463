"""The samples of a recipe, split by split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeopt.errors import DataError, RecipeError
from edgeopt.recipe import DataOptions
from edgeopt.stages.samples import Data


def test_a_recipe_can_calibrate_with_other_samples(tmp_path: Path) -> None:
    data = Data(DataOptions(set="digits", calibration=str(tmp_path / "own.npz")), None)
    np.savez(tmp_path / "own.npz", image=np.full((3, 1, 8, 8), 0.5, np.float32))
    assert len(data.split("calibration")) == 3
    assert len(data.split("evaluation")) == 400
    before = data.fingerprint
    np.savez(tmp_path / "own.npz", image=np.full((3, 1, 8, 8), 0.25, np.float32))
    assert Data(data.options, None).fingerprint != before


def test_any_source_is_a_recipes_data_and_each_split_may_have_its_own(tmp_path: Path) -> None:
    labels = np.repeat(np.arange(4), 50)
    for name, kept in (("all", labels >= 0), ("held", labels < 2)):
        np.savez(tmp_path / f"{name}.npz", x=np.ones((int(kept.sum()), 3), np.float32), labels=labels[kept])
    options = DataOptions(
        set=str(tmp_path / "all.npz"), evaluation=str(tmp_path / "held.npz"), calibration_limit=8, train_limit=40
    )
    data = Data(options, None, seed=3)
    assert [np.bincount(data.split(split).labels).tolist() for split in ("train", "calibration")] == [[10] * 4, [2] * 4]
    assert data.warnings == []
    assert len(data.split("evaluation")) == 100
    (warning,) = data.warnings
    assert warning.startswith("the evaluation split has no samples of 2 of 4 classes (2, 3)")
    assert [(item.name, item.shape) for item in data.manifest.inputs] == [("x", [3])]
    assert data.fingerprint != Data(options.model_copy(update={"evaluation": None}), None).fingerprint


def test_a_set_that_does_not_exist_is_said_and_one_that_does_is_read(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"calibration set 'digitz' does not exist \(did you mean 'digits'\?\)"):
        Data(DataOptions(set="digitz"), None).split("train")
    with pytest.raises(DataError, match=r"nothing\.npz: no such calibration data"):
        Data(DataOptions(set=str(tmp_path / "nothing.npz")), None).split("train")


def test_one_real_sample_is_the_same_for_all_who_count() -> None:
    data = Data(DataOptions(set="digits", train_limit=5), None)
    np.testing.assert_array_equal(data.example()["image"], Data(DataOptions(set="digits"), None).example()["image"])
    assert data.example()["image"].shape == (1, 1, 8, 8)


def test_without_an_evaluation_split_calibration_samples_stand_in(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", x=np.ones((6, 2), np.float32))
    data = Data(DataOptions(set=str(tmp_path / "rows.npz"), calibration_limit=4), None)
    assert len(data.split("evaluation")) == len(data.split("calibration")) == 4
    assert data.evaluated == frozenset()


def test_one_source_alone_is_split_once_by_the_seed(tmp_path: Path) -> None:
    rows = np.arange(200, dtype=np.float32)
    np.savez(tmp_path / "rows.npz", x=rows[:, None], labels=np.repeat([0, 1], [150, 50]))
    options = DataOptions(train=str(tmp_path / "rows.npz"))
    data = Data(options, None, seed=1)
    sizes = {name: len(data.whole(name)) for name in ("train", "calibration", "evaluation")}
    assert sizes == {"train": 160, "calibration": 20, "evaluation": 20}
    seen = [float(data.whole(name)[index]["x"][0]) for name in sizes for index in range(sizes[name])]
    assert sorted(seen) == rows.tolist()
    again, other = (Data(options, None, seed=seed) for seed in (1, 2))
    assert again.whole("evaluation").digest == data.whole("evaluation").digest != other.whole("evaluation").digest


def test_named_sources_are_the_splits_and_training_samples_calibrate(tmp_path: Path) -> None:
    for name, count in (("train", 12), ("test", 5)):
        np.savez(tmp_path / f"{name}.npz", x=np.ones((count, 2), np.float32))
    data = Data(DataOptions(train=str(tmp_path / "train.npz"), evaluation=str(tmp_path / "test.npz")), None)
    assert [len(data.whole(name)) for name in ("train", "calibration", "evaluation")] == [12, 12, 5]
    with pytest.raises(RecipeError, match="name the samples: set, or train, calibration, evaluation"):
        DataOptions.read({}, where="recipe.toml")


def test_doubles_become_what_a_pytorch_teacher_takes(tmp_path: Path) -> None:
    np.savez(tmp_path / "double.npz", x=np.ones((20, 3)), image=np.ones((20, 3), np.uint8))
    data = Data(DataOptions(set=str(tmp_path / "double.npz")), None)
    assert {name: array.dtype.name for name, array in data.example().items()} == {"x": "float32", "image": "uint8"}
