"""Inputs of vision models: the configured size, which can be made dynamic."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from edgeopt.export.family import Resizable
from edgeopt.export.vision import CLASSIFICATION, images, vision_encoder


@pytest.mark.parametrize(
    ("config", "channels", "height", "width"),
    [
        ({"image_size": 96}, 3, 96, 96),
        ({"image_size": [96, 128], "num_channels": 1}, 1, 96, 128),
        ({"image_size": (96, 128)}, 3, 96, 128),
        ({}, 3, 224, 224),
        ({"image_size": None, "num_channels": None}, 3, 224, 224),
    ],
)
def test_images_have_the_configured_size(config: dict[str, object], channels: int, height: int, width: int) -> None:
    (found,) = images(SimpleNamespace(**config)).values()
    assert found.shape == ("batch", channels, Resizable("height", height), Resizable("width", width))


def test_height_and_width_can_be_made_dynamic() -> None:
    config = SimpleNamespace(image_size=(96, 128))
    assert CLASSIFICATION.resizable(config) == {"height": 96, "width": 128}
    assert CLASSIFICATION.axes(config) == {"pixel_values": {0: "batch"}}
    assert CLASSIFICATION.axes(config, ["width"]) == {"pixel_values": {0: "batch", 3: "width"}}


def test_a_model_with_a_teacher_is_a_classifier_and_one_without_a_head_gives_features() -> None:
    tasks = vision_encoder()
    heads = {"DeiTForImageClassificationWithTeacher": "image-classification", "ViTModel": "image-feature-extraction"}
    for name, task in heads.items():
        assert [found for found, facts in tasks.items() if name.endswith(facts.heads)] == [task]
    assert tasks["image-feature-extraction"].outputs == ("last_hidden_state",)
