"""Image preprocessing on the device: every filter against Pillow, letterbox and crop against the engine's own reader."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeopt.data.images import prepared
from edgeopt.data.preprocessing import ImageInput
from edgeopt.device_code import inference

IMAGES = inference("images")


@pytest.mark.parametrize("resample", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize(("width", "height"), [(31, 47), (130, 99), (64, 20)])
def test_every_filter_is_pillow_s_within_one_level(resample: str, width: int, height: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, size=(48, 64, 3), dtype=np.uint8)
    ours = IMAGES.resize(pixels.astype(np.float32), height, width, resample)
    pillow = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling[resample.upper()]), np.float32)
    assert np.abs(ours - pillow).max() <= 1
    assert np.abs(ours - pillow).mean() < 0.05


@pytest.mark.parametrize(
    "options",
    [
        {"letterbox": True, "pad_position": "corner"},
        {"letterbox": True, "colour": "BGR", "pad": [1.0, 2.0, 3.0]},
        {"letterbox": True, "colour": "GREY", "scale": [1.0]},
        {"shorter_edge": 33, "resample": "bicubic", "layout": "NHWC"},
        {},
    ],
)
@pytest.mark.parametrize("size", [(50, 20), (17, 61), (32, 24)])
def test_the_device_prepares_what_the_engine_prepares(options: dict[str, object], size: tuple[int, int]) -> None:
    steps = ImageInput.read({"width": 32, "height": 24, "mean": [0.0], "scale": [1.0], **options}, where="here")
    pixels = np.random.default_rng(1).integers(0, 256, size=(size[1], size[0], 3), dtype=np.uint8)
    ours = IMAGES.image_input(pixels, steps.model_dump())[0][0]
    engine = prepared(Image.fromarray(pixels), steps)
    assert ours.shape == engine.shape
    assert np.abs(ours - engine).max() <= 1


def test_a_letterbox_s_placement_maps_the_corners_of_the_image() -> None:
    steps = ImageInput(width=100, height=100, letterbox=True).model_dump()
    place = IMAGES.image_input(np.zeros((20, 40, 3), np.uint8), steps)[1]
    assert place.size == (40, 20)
    assert (place.scale, place.offset) == ((2.5, 2.5), (0.0, 25.0))


@pytest.mark.parametrize("content", [None, b"", b"\x93NUMPY", "alpha"])
def test_arrays_that_are_no_images_are_said_in_a_line(content: object, tmp_path: Path) -> None:
    if content == "alpha":
        np.save(tmp_path / "x.npy", np.zeros((4, 4, 4), np.uint8))
    elif isinstance(content, bytes):
        (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.npy: (not an array that can be read|uint8\[4, 4, 4\])"):
        IMAGES.read_pixels(str(tmp_path / "x.npy"))
