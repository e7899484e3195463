"""`calibrate-data`: the set has a manifest, is written atomically, resumes after a kill, and quantizes."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest

from edgeopt.data.samples import Samples, from_arrays
from edgeopt.data.selection import CalibrateConfig, make_calibration_set, stage
from edgeopt.data.selection.features import FeatureModel
from edgeopt.data.sets import load_set
from edgeopt.errors import DataError, RecipeError

GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.uniform(-1, 1, (40, 3, 8, 8)).astype(np.float32)


def labelled(images: np.ndarray = IMAGES) -> Samples:
    return from_arrays({"x": images}, np.arange(len(images)) % 4)


def test_the_set_says_what_it_is_and_is_read_back(net: Path, tmp_path: Path) -> None:
    config = CalibrateConfig(samples=8, origin="made here", licence="CC0", task="image-classification")
    made = make_calibration_set(labelled(), output=tmp_path / "set", model=net, config=config)
    assert (made.samples, made.candidates, made.warnings, made.changed) == (8, 40, (), True)
    manifest = tomllib.loads((tmp_path / "set" / "manifest.toml").read_text())
    assert (manifest["origin"], manifest["licence"]) == ("made here", "CC0")
    assert manifest["inputs"][0]["shape"] == [3, 8, 8]
    assert manifest["splits"]["calibration"]["count"] == 8
    samples = load_set(str(tmp_path / "set"))["calibration"]
    for row, item in zip(range(8), manifest["picked"], strict=True):
        np.testing.assert_array_equal(samples[row]["x"], IMAGES[item["index"]])
        assert item["label"] == item["index"] % 4
    assert samples.labels is not None
    assert np.bincount(samples.labels).tolist() == [2, 2, 2, 2]
    (tmp_path / "set" / "samples" / "00003.npz").write_bytes(b"")
    with pytest.raises(DataError, match="differs from its manifest"):
        load_set(str(tmp_path / "set"))


def test_twice_the_same_is_the_same_bytes_and_not_done_again(net: Path, tmp_path: Path) -> None:
    config = CalibrateConfig(samples=6, seed=3)
    for name in ("a/set", "b/set"):
        make_calibration_set(labelled(), output=tmp_path / name, model=net, config=config)
    files = [{file.name: file.read_bytes() for file in (tmp_path / name).rglob("*.*")} for name in ("a/set", "b/set")]
    assert files[0] == files[1]
    assert not make_calibration_set(labelled(), output=tmp_path / "a/set", model=net, config=config).changed
    with pytest.raises(RecipeError, match="exists and is another set or folder"):
        make_calibration_set(labelled(), output=tmp_path / "a/set", model=net, config=CalibrateConfig(samples=7))


def test_a_killed_run_goes_on(net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "_CHUNK", 10)
    config = CalibrateConfig(samples=5)
    whole = make_calibration_set(labelled(), output=tmp_path / "whole" / "set", model=net, config=config)
    looked: list[int] = []

    class Counting(FeatureModel):
        def __call__(self, samples, indices):
            looked.extend(indices)
            if len(looked) == 20:
                raise KeyboardInterrupt
            return super().__call__(samples, indices)

    monkeypatch.setattr(stage, "FeatureModel", Counting)
    for _ in range(2):
        try:
            made = make_calibration_set(labelled(), output=tmp_path / "killed" / "set", model=net, config=config)
        except KeyboardInterrupt:
            assert [path.name for path in (tmp_path / "killed").iterdir()] == [".set.part"]
    assert looked == [*range(20), *range(10, 40)]
    assert (made.path / "manifest.toml").read_bytes() == (whole.path / "manifest.toml").read_bytes()
    assert [path.name for path in (tmp_path / "killed").iterdir()] == ["set"]


def test_bad_samples_are_errors_or_left_out(net: Path, tmp_path: Path) -> None:
    images = IMAGES.copy()
    images[5], images[9] = images[2], 0
    config = CalibrateConfig(samples=37, choose="random", origin="here", licence="CC0")
    evaluation = from_arrays({"x": IMAGES[:1]})
    made = make_calibration_set(labelled(images), output=tmp_path / "set", evaluation=evaluation, config=config)
    assert made.candidates == 37
    text = "\n".join(made.warnings)
    for part in (
        "sample 5 equals sample 2",
        "sample 9, input 'x': all 192 values are 0",
        "sample 0 is also in",
        "3 samples were left",
    ):
        assert part in text
    with pytest.raises(DataError, match="38 samples were requested, but only 37 of 40"):
        config = CalibrateConfig(samples=38, choose="random")
        make_calibration_set(labelled(images), output=tmp_path / "more", evaluation=evaluation, config=config)
    images[30, 0, 0, 0] = np.nan
    with pytest.raises(DataError, match="sample 30, input 'x': holds nan"):
        make_calibration_set(labelled(images), output=tmp_path / "nan", config=config)
    with pytest.raises(RecipeError, match="needs a model"):
        make_calibration_set(labelled(), output=tmp_path / "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.onnx", "set"]


def test_ragged_axes_get_a_name(net: Path, tmp_path: Path) -> None:
    ragged = Samples(4, lambda index: {"x": np.ones((index + 1, 3), np.float32) * np.arange(3)}, None, "ragged")
    make_calibration_set(ragged, output=tmp_path / "set", config=CalibrateConfig(samples=4, choose="random"))
    samples = load_set(str(tmp_path / "set"))["calibration"]
    assert sorted(samples[index]["x"].shape for index in range(4)) == [(1, 3), (2, 3), (3, 3), (4, 3)]


def test_classes_that_no_picked_sample_has_are_a_warning(tmp_path: Path) -> None:
    labels = np.array([0, 0, 0, 1, 1, 1, 3, 3])
    samples = from_arrays({"x": np.arange(16, dtype=np.float32).reshape(8, 2)}, labels)
    config = CalibrateConfig(samples=6, choose="random", origin="here", licence="none")
    made = make_calibration_set(samples, output=tmp_path / "set", config=config)
    assert made.warnings == ("the calibration set has no samples of 1 of 4 classes (2); what it shows is not about them",)
    named = config.model_copy(update={"labels": ["a", "b", "c", "d", "e"]})
    made = make_calibration_set(samples, output=tmp_path / "named", config=named)
    assert "no samples of 2 of 5 classes (2, 4)" in made.warnings[0]
