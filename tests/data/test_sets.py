"""Calibration sets: the shipped ones are what their manifests say, and changed files are noticed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeopt.data.images import read_image
from edgeopt.data.preprocessing import ImageInput
from edgeopt.data.sets import content_hash, fingerprint, load_set
from edgeopt.errors import DataError, RecipeError

Folder = Callable[[str], Path]


def test_sentences_keep_their_lengths(data_folder: Folder) -> None:
    data_folder("sst2")
    splits = load_set("sst2", tokenizer=data_folder("sst2_teacher"))
    assert {name: len(samples) for name, samples in splits.items()} == {"train": 6920, "calibration": 872, "evaluation": 1821}
    lengths = {splits["train"][index]["input_ids"].shape[0] for index in range(200)}
    assert len(lengths) > 10
    assert max(lengths) <= 64
    labels = splits["evaluation"].labels
    assert labels is not None
    assert set(labels.tolist()) == {0, 1}


def test_images_are_read_as_the_manifest_says(data_folder: Folder) -> None:
    data_folder("ultraface_slim")
    image = load_set("ultraface")["calibration"][3]["input"]
    assert (image.shape, image.dtype) == ((3, 240, 320), np.float32)
    assert -1 <= image.min() < image.max() <= 1


@pytest.fixture
def own_set(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    (folder / "images").mkdir(parents=True)
    for shade in (10, 200):
        Image.new("RGB", (6, 4), (shade, 0, 255)).save(folder / "images" / f"{shade}.png")
    (folder / "manifest.toml").write_text(
        f"""
description = "two images"
origin = "made here"
licence = "CC0"
reader = "images"
[[inputs]]
name = "pixels"
dtype = "float32"
shape = [3, 2, 3]
[preprocessing]
kind = "image"
width = 3
height = 2
mean = [5.0]
scale = [5.0]
[splits.calibration]
path = "images"
count = 2
sha256 = "{content_hash(folder / "images")}"
""",
        encoding="utf-8",
    )
    return folder


def test_a_folder_with_a_manifest_is_a_set(own_set: Path) -> None:
    samples = load_set(str(own_set))["calibration"]
    assert samples[0]["pixels"][:, 0, 0].tolist() == [1.0, -1.0, 50.0]


def test_a_changed_file_is_noticed(own_set: Path) -> None:
    before = fingerprint(str(own_set))
    Image.new("RGB", (6, 4), (11, 0, 255)).save(own_set / "images" / "10.png")
    assert fingerprint(str(own_set)) != before
    with pytest.raises(DataError, match="differs from its manifest"):
        load_set(str(own_set))


def test_a_file_in_a_folder_below_counts(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "a.txt").write_text("a", encoding="utf-8")
    before = content_hash(tmp_path)
    (tmp_path / "inner" / "b.txt").write_text("b", encoding="utf-8")
    assert content_hash(tmp_path) != before


def test_a_wrong_count_is_noticed(own_set: Path) -> None:
    path = own_set / "manifest.toml"
    path.write_text(path.read_text(encoding="utf-8").replace("count = 2", "count = 3"), encoding="utf-8")
    with pytest.raises(DataError, match="2 samples, its manifest says 3"):
        load_set(str(own_set))


def test_another_shape_is_noticed(own_set: Path) -> None:
    path = own_set / "manifest.toml"
    path.write_text(path.read_text(encoding="utf-8").replace("[3, 2, 3]", "[3, 2, 4]"), encoding="utf-8")
    with pytest.raises(DataError, match="its manifest says"):
        load_set(str(own_set))


def test_a_misspelt_key_or_name_is_named(own_set: Path) -> None:
    path = own_set / "manifest.toml"
    path.write_text(path.read_text(encoding="utf-8").replace("licence =", "license ="), encoding="utf-8")
    with pytest.raises(RecipeError, match="unknown key 'license'"):
        load_set(str(own_set))
    with pytest.raises(RecipeError, match="did you mean 'digits'"):
        load_set("digit")


@pytest.mark.parametrize(("colour", "expected"), [("RGB", [10, 20, 30]), ("BGR", [30, 20, 10])])
def test_channels_come_in_the_asked_order(tmp_path: Path, colour: str, expected: list[int]) -> None:
    Image.new("RGB", (8, 8), (10, 20, 30)).save(tmp_path / "x.png")
    options = ImageInput.read({"kind": "image", "width": 4, "height": 4, "colour": colour, "scale": [1.0]}, where="test")
    assert read_image(tmp_path / "x.png", options)[:, 0, 0].tolist() == expected
    last = options.model_copy(update={"layout": "NHWC"})
    assert read_image(tmp_path / "x.png", last)[0, 0].tolist() == expected


def test_the_centre_is_cropped_after_the_shorter_edge_is_resized(tmp_path: Path) -> None:
    image = Image.new("L", (20, 10), 0)
    image.paste(255, (5, 0, 15, 10))
    image.save(tmp_path / "x.png")
    options = ImageInput.read(
        {"kind": "image", "width": 10, "height": 10, "shorter_edge": 10, "colour": "GREY", "scale": [255.0]}, where="test"
    )
    assert (read_image(tmp_path / "x.png", options) == 1).all()


def test_a_set_of_images_names_a_folder_and_the_input_that_they_feed(own_set: Path) -> None:
    text = (own_set / "manifest.toml").read_text()
    start = text.index("[[inputs]]")
    without = text[:start] + text[text.index("[preprocessing]") :]
    (own_set / "manifest.toml").write_text(without.replace("[preprocessing]", "inputs = []\n[preprocessing]", 1))
    with pytest.raises(DataError, match="must list the input that the images feed"):
        load_set(str(own_set))
    unchecked = re.sub('sha256 = ".*"', 'sha256 = ""', text)
    (own_set / "manifest.toml").write_text(unchecked.replace('path = "images"', 'path = "images/10.png"'))
    with pytest.raises(DataError, match=r"10\.png must be a folder of images"):
        load_set(str(own_set))
