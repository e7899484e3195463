"""Images with a class for every pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeopt.data.source import open_source
from edgeopt.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    Image.new("RGB", (6, 4)).save(tmp_path / "images" / "a.jpg")
    Image.fromarray(np.array([[0] * 6, [1] * 6, [2] * 6, [255] * 6], np.uint8)).save(tmp_path / "masks" / "a.png")
    (tmp_path / "p.toml").write_text('width = 4\nheight = 4\ninput = "pixels"\n')
    return tmp_path


def test_masks_are_read_with_their_images(folder: Path) -> None:
    samples = open_source(f"{folder}?preprocessing={folder}/p.toml")
    assert samples.annotations is not None
    assert samples.annotations[0][:, 0].tolist() == [0, 1, 2, 255]
    assert samples.contexts is not None
    assert samples.contexts[0].size == (6, 4)
    assert len(samples.take([0, 0])) == 2


def test_masks_that_are_missing_or_do_not_fit_are_named(folder: Path) -> None:
    Image.new("L", (5, 4)).save(folder / "masks" / "a.png")
    with pytest.raises(DataError, match="is 5×4, its image 6×4"):
        _ = open_source(f"{folder}?preprocessing={folder}/p.toml").annotations[0]  # type: ignore[index]
    Image.new("RGB", (6, 4)).save(folder / "masks" / "a.png")
    with pytest.raises(DataError, match="has channels"):
        _ = open_source(f"{folder}?preprocessing={folder}/p.toml").annotations[0]  # type: ignore[index]
    (folder / "masks" / "a.png").unlink()
    with pytest.raises(DataError, match=r"no mask for a\.jpg; write a\.png"):
        open_source(f"{folder}?preprocessing={folder}/p.toml")


def test_a_folder_in_the_place_of_an_image_is_named(folder: Path) -> None:
    (folder / "images" / "a.jpg").unlink()
    (folder / "images" / "a.jpg").mkdir()
    with pytest.raises(DataError, match=r"a\.jpg: a folder where an image should be"):
        open_source(f"{folder}?preprocessing={folder}/p.toml")


@pytest.mark.parametrize(("number", "dtype", "form"), [(258, np.uint16, "PNG"), (-7, np.int32, "TIFF")])
def test_numbers_beyond_8_bits_are_not_folded_into_them(folder: Path, number: int, dtype: type, form: str) -> None:
    Image.fromarray(np.full((4, 6), number, dtype)).save(folder / "masks" / "a.png", form)
    with pytest.raises(DataError, match=f"holds the number {number}; classes are numbered from 0 to 255"):
        _ = open_source(f"{folder}?preprocessing={folder}/p.toml").annotations[0]  # type: ignore[index]
