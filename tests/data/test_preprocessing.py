"""Preprocessing: what is written reads back, and transformers' image processors mean the same here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeopt.bundle import ArrayInput, ImageInput, TokenizerInput, read_preprocessing
from edgeopt.data.preprocessing import read_image_input
from edgeopt.errors import DataError, RecipeError

RESNET = {
    "image_processor_type": "ConvNextImageProcessor",
    "do_rescale": True,
    "do_normalize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "size": {"height": 224, "width": 224},
    "resample": 2,
}


def test_each_kind_is_read_by_its_name():
    assert read_preprocessing({"kind": "array"}, where="r") == ArrayInput()
    image = read_preprocessing({"kind": "image", "width": 320, "height": 240, "mean": [127.0], "scale": [128.0]}, where="r")
    assert isinstance(image, ImageInput)
    assert (image.width, image.height, image.colour, image.layout) == (320, 240, "RGB", "NCHW")
    text = read_preprocessing({"kind": "tokenizer", "max_length": 64}, where="r")
    assert isinstance(text, TokenizerInput)
    assert text.file == "tokenizer.json"


def test_what_is_written_reads_back():
    image = ImageInput(width=8, height=8, colour="GREY", layout="NHWC", shorter_edge=9)
    assert read_preprocessing(image.model_dump(mode="json"), where="r") == image


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"kind": "imag"},
            r"recipe: preprocessing kind is 'imag' \(did you mean 'image'\?\); allowed: array, audio, image, tokenizer",
        ),
        ({}, "preprocessing kind is None"),
        ({"kind": "image", "width": 8, "height": 8, "widht": 1}, r"unknown key 'widht' \(did you mean 'width'\?\)"),
        ({"kind": "image", "width": 8}, "'height' is missing"),
        ({"kind": "image", "width": 8, "height": 0}, "'height' is 0"),
        ({"kind": "image", "width": 8, "height": 8, "scale": [0.0]}, "scale contains 0"),
        ({"kind": "image", "width": 8, "height": 8, "mean": [0.0, 1.0]}, "mean has 2 values; 1 or 3"),
        ({"kind": "image", "width": 8, "height": 8, "shorter_edge": 7}, "smaller than the crop"),
        ({"kind": "tokenizer", "max_length": "64"}, "max_length"),
    ],
)
def test_a_wrong_option_is_named_with_what_is_allowed(values, message):
    with pytest.raises(RecipeError, match=message) as caught:
        read_preprocessing(values, where="recipe")
    assert "\n" not in str(caught.value)


def written(folder: Path, **changes: Any) -> Path:
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps({**RESNET, **changes}), encoding="utf-8")
    return path


def test_mean_and_scale_are_those_of_pixels_from_0_to_255(tmp_path: Path) -> None:
    found = read_image_input(written(tmp_path), "photos")
    pixel = np.array([10.0, 128.0, 255.0])
    ours = (pixel - np.array(found.mean)) / np.array(found.scale)
    theirs = (pixel / 255 - np.array(RESNET["image_mean"])) / np.array(RESNET["image_std"])
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert (found.width, found.height, found.resample) == (224, 224, "bilinear")


def test_a_crop_keeps_the_shorter_edge_it_is_cut_from(tmp_path: Path) -> None:
    crop = {"do_center_crop": True, "crop_size": {"height": 224, "width": 224}, "size": {"shortest_edge": 256}}
    found = read_image_input(written(tmp_path, **crop), "photos")
    assert (found.width, found.shorter_edge) == (224, 256)


def test_without_normalization_pixels_are_only_rescaled(tmp_path: Path) -> None:
    found = read_image_input(written(tmp_path, do_normalize=False), "photos")
    assert list(found.mean) == [0.0]
    assert list(found.scale) == [255.0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"resample": 4}, "resampling 4 is not supported"), ({"size": {"shortest_edge": 9}}, "do not fix width and height")],
)
def test_what_cannot_be_done_is_said(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_image_input(written(tmp_path, **changes), "photos")


def test_without_a_file_it_says_what_is_needed() -> None:
    with pytest.raises(DataError, match=r"^photos.*preprocessing=FILE"):
        read_image_input(None, "photos")


@pytest.mark.parametrize("key", ["width", "height", "shorter_edge"])
def test_an_edge_that_no_memory_holds_is_refused(key: str) -> None:
    with pytest.raises(RecipeError, match=f"'{key}' is 999999999999999999999"):
        ImageInput.read({"width": 4, "height": 4, key: 999_999_999_999_999_999_999}, where="p.toml")


def test_a_processor_that_turns_the_channels_round_is_bgr(tmp_path: Path) -> None:
    assert read_image_input(written(tmp_path, do_flip_channel_order=True), "photos").colour == "BGR"
    assert read_image_input(written(tmp_path), "photos").colour == "RGB"


@pytest.mark.parametrize("key", ["mean", "scale", "pad"])
def test_a_number_that_is_not_finite_is_refused(key: str) -> None:
    for number in (float("nan"), float("inf")):
        with pytest.raises(RecipeError, match="finite number"):
            ImageInput.read({"width": 4, "height": 4, key: [number]}, where="p.toml")
