"""Manifests of calibration sets: found by name or folder, value ranges, and the folder that their paths are relative to."""

from __future__ import annotations

from math import inf
from pathlib import Path

import pytest

from edgeopt.data import manifest
from edgeopt.data.manifest import Manifest, data_root, image_range, load_manifest, manifest_path, root_folder, set_names
from edgeopt.data.preprocessing import ArrayInput, ImageInput
from edgeopt.errors import DataError, RecipeError

TEXT = """
description = "two arrays"
origin = "made here"
licence = "CC0"
reader = "arrays"
[[inputs]]
name = "x"
dtype = "float32"
shape = [3]
[splits.calibration]
path = "x.npz"
count = 2
"""


def made(**changes: object) -> Manifest:
    values = {
        "name": "mine",
        "description": "two",
        "origin": "here",
        "licence": "CC0",
        "reader": "arrays",
        "inputs": [{"name": "a", "dtype": "float32", "shape": [3]}, {"name": "b", "dtype": "float32", "shape": [3]}],
        "splits": {"calibration": {"count": 2}},
    }
    return Manifest.read({**values, **changes}, where="test")


def test_every_shipped_manifest_is_valid() -> None:
    assert {"digits", "sst2", "ultraface"} <= set(set_names())
    for name in set_names():
        manifest = load_manifest(name)
        assert manifest.origin
        assert manifest.licence


def test_a_folder_is_its_sets_name_unless_the_manifest_has_one(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "manifest.toml").write_text(TEXT, encoding="utf-8")
    assert load_manifest(f"{tmp_path}/mine").name == "mine"
    (tmp_path / "mine" / "manifest.toml").write_text('name = "other"\n' + TEXT, encoding="utf-8")
    assert load_manifest(f"{tmp_path}/mine/").name == "other"
    assert manifest_path(f"{tmp_path}/mine") == tmp_path / "mine" / "manifest.toml"
    assert manifest_path("mine") == manifest.shipped("calibration_data") / "mine" / "manifest.toml"


def test_a_set_that_does_not_exist_and_a_wrong_key_are_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"'digist' does not exist \(did you mean 'digits'\?\); known: .*digits"):
        load_manifest("digist")
    (tmp_path / "manifest.toml").write_text(TEXT.replace("count = 2", "count = 0"), encoding="utf-8")
    with pytest.raises(RecipeError, match=r"splits\.calibration\.count"):
        load_manifest(f"{tmp_path}/")


def image(**options: object) -> ImageInput:
    return ImageInput.read({"kind": "image", "width": 2, "height": 2, **options}, where="test")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"mean": [127.5], "scale": [127.5]}, (-1.0, 1.0)),
        ({"mean": [0.0], "scale": [255.0]}, (0.0, 1.0)),
        ({"mean": [0.0, 51.0, 102.0], "scale": [51.0, 51.0, 51.0]}, (-2.0, 5.0)),  # the widest ends of three channels
    ],
)
def test_the_range_of_an_image_is_that_of_its_darkest_and_brightest_pixel(
    options: dict[str, object], expected: tuple[float, float]
) -> None:
    assert image_range(image(**options), ["pixels", "mask"]) == {"pixels": pytest.approx(expected)}
    assert image_range(image(**options, input="mask"), ["pixels", "mask"]) == {"mask": pytest.approx(expected)}
    assert image_range(image(**options), []) == {}
    assert image_range(ArrayInput(), ["pixels"]) == {}


def test_stated_ends_replace_those_of_the_image_one_by_one() -> None:
    first = {"name": "a", "dtype": "float32", "shape": [3], "high": 0.5}
    second = {"name": "b", "dtype": "float32", "shape": [3], "low": 0.0}
    third = {"name": "c", "dtype": "float32", "shape": [3]}
    steps = {"kind": "image", "width": 2, "height": 2, "mean": [127.5], "scale": [127.5]}
    found = made(inputs=[first, second, third], preprocessing=steps).value_ranges()
    assert found == {"a": (-1.0, 0.5), "b": (0.0, inf)}
    assert made(inputs=[first, second, third]).value_ranges() == {"a": (-inf, 0.5), "b": (0.0, inf)}


def test_the_root_is_the_manifests_folder_or_that_of_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "set" / "manifest.toml"
    assert root_folder(made(), file) == tmp_path / "set"
    monkeypatch.setenv("MY_DATA", str(tmp_path / "elsewhere"))
    assert root_folder(made(root_variable="MY_DATA"), file) == tmp_path / "elsewhere"
    monkeypatch.setenv("MY_DATA", "")
    with pytest.raises(DataError, match="'mine' needs its folder: set the environment variable MY_DATA"):
        root_folder(made(root_variable="MY_DATA"), file)
    monkeypatch.setenv("EDGEOPT_DATA", str(tmp_path))
    assert root_folder(made(root_variable="EDGEOPT_DATA"), file) == tmp_path


def test_the_folder_of_real_data_is_named_or_stands_beside_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEOPT_DATA", str(tmp_path / "none"))
    with pytest.raises(DataError, match="none does not exist; set the environment variable EDGEOPT_DATA"):
        data_root()
    monkeypatch.delenv("EDGEOPT_DATA")
    monkeypatch.setattr(manifest, "shipped", lambda name: tmp_path / "checkout" / name)
    with pytest.raises(DataError, match="shared/data does not exist"):
        data_root()
    (tmp_path / "shared" / "data").mkdir(parents=True)
    assert data_root() == tmp_path / "shared" / "data"
