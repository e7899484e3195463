"""Encoded images packed into one .npz."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeopt.data.packed_images import is_packed
from edgeopt.data.source import open_source
from edgeopt.data.source_options import Reader
from edgeopt.errors import DataError

STEPS = 'width = 4\nheight = 4\ninput = "pixels"\n'


@pytest.fixture
def packed(tmp_path: Path) -> str:
    (tmp_path / "p.toml").write_text(STEPS)
    files = []
    for shade in (0, 128, 255):
        buffer = io.BytesIO()
        Image.new("RGB", (4, 4), (shade,) * 3).save(buffer, "PNG")
        files.append(np.frombuffer(buffer.getvalue(), np.uint8))
    offset = np.cumsum([0, *map(len, files)])
    values = {"label": np.array([1, 0, 1]), "split": np.array([0, 0, 1]), "classes": np.array(["cat", "dog"])}
    np.savez(tmp_path / "all.npz", jpeg=np.concatenate(files), offset=offset, **values)
    return f"{tmp_path}/all.npz?preprocessing={tmp_path}/p.toml"


def test_images_labels_and_splits(packed: str) -> None:
    assert is_packed(Path(packed.partition("?")[0]))
    samples = open_source(packed)
    assert samples.labels is not None
    assert (samples.labels.tolist(), samples.names) == ([1, 0, 1], ("cat", "dog"))
    assert [float(samples[index]["pixels"].mean()) for index in range(3)] == pytest.approx([0, 128 / 255, 1])
    assert len(open_source(f"{packed}&split=train")) == 2
    of_model = open_source(f"{packed}&split=test", Reader(names=("dog", "cat"))).labels
    assert of_model is not None
    assert of_model.tolist() == [0]


def test_offsets_that_cut_no_images_are_an_error(tmp_path: Path, packed: str) -> None:
    path = Path(packed.partition("?")[0])
    values = dict(np.load(path))
    np.savez(path, **{**values, "offset": values["offset"] + 1})
    with pytest.raises(DataError, match="'offset' does not cut 'jpeg'"):
        open_source(packed)
    np.savez(path, **{**values, "jpeg": np.zeros_like(values["jpeg"])})
    with pytest.raises(DataError, match="image 0 cannot be read"):
        open_source(packed)[0]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("label", [0, 1, 2], "has the label 2 and names 2 classes"),
        ("label", [0, -1, 1], "has the label -1 and names 2 classes"),
        ("label", [0, 1], r"'label' is int64\[2\], not one number for each image"),
        ("label", [0.5, 1, 0], "'label' is float64"),
        ("split", [[0, 0, 1]], r"'split' is int64\[1, 3\]"),
        ("offset", [-5, 60, 90], "'offset' does not cut 'jpeg'"),
        ("offset", [0.0, 1.0], "'offset' does not cut 'jpeg'"),
    ],
)
def test_arrays_that_do_not_fit_each_other_are_named(packed: str, key: str, value: list[float], message: str) -> None:
    path = Path(packed.partition("?")[0])
    values = dict(np.load(path))
    wrong = np.array(value)
    if key == "offset":
        wrong[-1] = len(values["jpeg"])
    np.savez(path, **{**values, key: wrong})
    with pytest.raises(DataError, match=message):
        open_source(packed)


def test_any_error_of_an_images_reader_names_the_image(packed: str) -> None:
    path = Path(packed.partition("?")[0])
    values = dict(np.load(path))
    values["jpeg"][12:16] = np.frombuffer(b"iCCP", np.uint8)  # (Pillow: a struct.error or a bare SyntaxError, by its version)
    np.savez(path, **values)
    with pytest.raises(DataError, match="image 0 cannot be read"):
        open_source(packed)[0]


@pytest.mark.parametrize("classes", [np.array("cat"), np.array([1, 2]), np.array([["cat", "dog"]])])
def test_classes_are_a_list_of_names(packed: str, classes: np.ndarray) -> None:
    path = Path(packed.partition("?")[0])
    np.savez(path, **{**np.load(path), "classes": classes})
    with pytest.raises(DataError, match=r"'classes' is .*, not a list of names"):
        open_source(packed)


def test_names_in_bytes_are_texts(packed: str) -> None:
    path = Path(packed.partition("?")[0])
    np.savez(path, **{**np.load(path), "classes": np.array(["Kätzchen".encode(), b"dog"])})
    assert open_source(packed).names == ("Kätzchen", "dog")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_damage_behind_the_headers_is_one_error(packed: str, save: Callable[..., None]) -> None:
    path = Path(packed.partition("?")[0])
    arrays = dict(np.load(path))
    save(path, **{**arrays, "jpeg": np.tile(arrays["jpeg"], 3), "offset": np.array([0, 3 * len(arrays["jpeg"])])})
    content = bytearray(path.read_bytes())
    content[240] ^= 0x55
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        open_source(packed)
