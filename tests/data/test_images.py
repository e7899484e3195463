"""Images: resized, ordered and normalized as the preprocessing says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeopt.data.images import image_size, prepared, read_image, read_images
from edgeopt.data.preprocessing import ImageInput
from edgeopt.device_code import inference
from edgeopt.errors import DataError

RED_BLUE = np.zeros((2, 4, 3), np.uint8)
RED_BLUE[:, :2] = (200, 0, 0)
RED_BLUE[:, 2:] = (0, 0, 100)


def options(**values: object) -> ImageInput:
    return ImageInput.read({"kind": "image", "width": 4, "height": 2, **values}, where="test")


def sample_image() -> Image.Image:
    return Image.fromarray(RED_BLUE)


def test_pixels_are_normalized_and_put_into_the_asked_layout() -> None:
    found = prepared(sample_image(), options(mean=[100.0, 0.0, 0.0], scale=[50.0, 1.0, 2.0]))
    assert found.shape == (3, 2, 4)
    assert found.dtype == np.float32
    assert found[0, 0].tolist() == [2.0, 2.0, -2.0, -2.0]
    assert found[2, 0].tolist() == [0.0, 0.0, 50.0, 50.0]
    last = prepared(sample_image(), options(layout="NHWC", mean=[0.0], scale=[1.0]))
    assert last.shape == (2, 4, 3)
    assert last[0, 0].tolist() == [200.0, 0.0, 0.0]


def test_bgr_turns_the_channels_round_and_grey_has_one() -> None:
    bgr = prepared(sample_image(), options(colour="BGR", mean=[0.0], scale=[1.0]))
    assert bgr[:, 0, 0].tolist() == [0.0, 0.0, 200.0]
    assert prepared(sample_image(), options(colour="GREY", mean=[0.0], scale=[1.0])).shape == (1, 2, 4)


def test_with_a_shorter_edge_the_centre_is_cut_out() -> None:
    wide = Image.fromarray(np.repeat(RED_BLUE, 4, axis=1))  # 2 high, 16 wide: red, then blue
    found = prepared(wide, options(width=2, height=2, shorter_edge=2, resample="nearest", mean=[0.0], scale=[1.0]))
    assert found[0, 0].tolist() == [200.0, 0.0]  # the last red column, the first blue one


def test_folders_are_classes_by_the_order_of_their_names(tmp_path: Path) -> None:
    for name, count in (("b", 2), ("a", 1), ("empty", 0)):
        (tmp_path / name).mkdir()
        for number in range(count):
            sample_image().save(tmp_path / name / f"{number}.png")
    found = read_images(tmp_path, "pixels", options())
    assert found.labels is not None
    assert found.labels.tolist() == [0, 1, 1]
    assert found[0]["pixels"].shape == (3, 2, 4)


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"a\.png: not an image that can be read"):
        read_image(tmp_path / "a.png", options())
    (tmp_path / "a.png").unlink()
    with pytest.raises(DataError, match="no images here"):
        read_images(tmp_path, "pixels", options())


@pytest.mark.parametrize("form", ["EPS", "PDF", "PCX", "SGI", "TGA"])
def test_a_format_that_is_not_listed_is_no_image_whatever_its_name(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow reads EPS by starting Ghostscript on the file."""

    monkeypatch.setattr("subprocess.check_call", lambda *_, **__: pytest.fail("a program was started"))
    Image.new("RGB", (4, 4)).save(tmp_path / "photo.png", form)
    for read in (image_size, lambda file: read_image(file, ImageInput(width=4, height=4))):
        with pytest.raises(DataError, match="not an image that can be read"):
            read(tmp_path / "photo.png")
    with pytest.raises(ValueError, match="not an image that can be read"):
        inference("images").read_pixels(str(tmp_path / "photo.png"))


@pytest.mark.parametrize(
    ("form", "orientation"), [*(("PNG", orientation) for orientation in range(1, 9)), ("TIFF", 3), ("TIFF", 6)]
)
def test_samples_are_turned_as_the_apps_of_a_bundle_turn_them(tmp_path: Path, form: str, orientation: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = tmp_path / "photo.png"
    Image.fromarray(pixels).save(file, form, exif=exif)
    width, height = (6, 4) if orientation < 5 else (4, 6)
    assert image_size(file) == (width, height)
    steps = ImageInput(width=width, height=height, resample="nearest", scale=[1.0])
    on_the_device = inference("images").read_pixels(str(file))
    assert np.array_equal(read_image(file, steps).transpose(1, 2, 0), on_the_device)


def test_an_image_so_narrow_that_its_resized_form_fills_the_memory_is_refused(tmp_path: Path) -> None:
    Image.new("L", (1, 60_000)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: .*1×60000 pixels would become 256×15360000"):
        read_image(tmp_path / "a.png", options(shorter_edge=256))
