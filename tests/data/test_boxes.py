"""Images with boxes: YOLO's folders and COCO's file say the same."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeopt.data.annotations import BoxTruth
from edgeopt.data.samples import Samples
from edgeopt.data.source import open_source
from edgeopt.data.source_options import Reader
from edgeopt.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (40, 20)).save(tmp_path / "images" / f"{name}.jpg")
    (tmp_path / "labels" / "a.txt").write_text("1 0.5 0.5 0.5 1.0\n0 0.25 0.25 0.1 0.1\n")
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    (tmp_path / "p.toml").write_text('width = 20\nheight = 20\ninput = "pixels"\n')
    return tmp_path


def truths(samples: Samples) -> list[BoxTruth]:
    assert samples.annotations is not None
    return list(samples.annotations)


def test_yolos_boxes_are_in_pixels_and_images_without_a_file_have_none(folder: Path) -> None:
    samples = open_source(f"{folder}?preprocessing={folder}/p.toml")
    assert samples[0]["pixels"].shape == (3, 20, 20)
    first, second = truths(samples)
    np.testing.assert_allclose(first.boxes, [[10, 0, 30, 20], [8, 4, 12, 6]], atol=1e-5)
    assert (first.classes.tolist(), len(second.classes)) == ([1, 0], 0)
    assert samples.names == ("cat", "dog")
    assert samples.contexts is not None
    assert (samples.contexts[0].size, samples.contexts[0].scale) == ((40, 20), (0.5, 1.0))


@pytest.mark.parametrize(
    "text", ["names: [cat, 'dog']\n", "nc: 2\nnames:\n  0: cat\n  1: dog\n", "names:\n- cat\n- dog\nnc: 2\n"]
)
def test_names_of_a_data_yaml(folder: Path, text: str) -> None:
    (folder / "classes.txt").unlink()
    (folder / "data.yaml").write_text(text)
    assert open_source(f"{folder}?preprocessing={folder}/p.toml").names == ("cat", "dog")


def test_coco_gives_the_same_boxes(folder: Path) -> None:
    boxes = [
        {"image_id": 7, "category_id": 18, "bbox": [10, 0, 20, 20], "iscrowd": 0},
        {"image_id": 7, "category_id": 17, "bbox": [8, 4, 4, 2], "iscrowd": 1},
    ]
    values = {
        "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 9, "file_name": "b.jpg"}],
        "annotations": boxes,
        "categories": [{"id": 18, "name": "dog"}, {"id": 17, "name": "cat"}],
    }
    (folder / "coco.json").write_text(json.dumps(values))
    samples = open_source(f"{folder}/coco.json?images={folder}/images&preprocessing={folder}/p.toml")
    yolo = open_source(f"{folder}?preprocessing={folder}/p.toml")
    np.testing.assert_allclose(truths(samples)[0].boxes, truths(yolo)[0].boxes, atol=1e-5)
    assert truths(samples)[0].classes.tolist() == truths(yolo)[0].classes.tolist()
    assert truths(samples)[0].crowd.tolist() == [False, True]
    of_model = open_source(f"{folder}/coco.json?preprocessing={folder}/p.toml", Reader(names=("person", "dog", "cat")))
    assert truths(of_model)[0].classes.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0 0.5 0.5 0.5\n", "line 1 is not a box"),
        ("0 0.5 0.5 50 1\n", "numbers above 1 or below 0; boxes are relative"),
        ("5 0.5 0.5 0.5 1\n", "class 5, and there are names of 2 classes"),
        ("dog 0.5 0.5 0.5 1\n", "line 1 is not numbers"),
        ("0 0.5 0.5 -0.5 1\n", "numbers above 1 or below 0; boxes are relative"),
    ],
)
def test_lines_that_are_no_boxes_are_named(folder: Path, text: str, said: str) -> None:
    (folder / "labels" / "b.txt").write_text(text)
    with pytest.raises(DataError, match=said):
        open_source(f"{folder}?preprocessing={folder}/p.toml")


def test_a_class_beyond_every_list_is_named(folder: Path) -> None:
    (folder / "classes.txt").unlink()
    (folder / "labels" / "b.txt").write_text("2000000 0.5 0.5 0.5 1\n")
    with pytest.raises(DataError, match="line 1 has class 2000000; classes are numbered from 0 to 1,000,000"):
        open_source(f"{folder}?preprocessing={folder}/p.toml")


def test_a_damaged_coco_file_and_a_missing_image_are_named(folder: Path) -> None:
    (folder / "coco.json").write_text('{"images": [{"id": 1, "file_name": "z.jpg"}], "annotations": [{"image_id": 1}]}')
    with pytest.raises(DataError, match="not COCO's annotations: KeyError"):
        open_source(f"{folder}/coco.json?preprocessing={folder}/p.toml")
    (folder / "coco.json").write_text('{"images": [{"id": 1, "file_name": "z.jpg"}], "annotations": []}')
    with pytest.raises(DataError, match="the annotations name this image, and it is not there"):
        open_source(f"{folder}/coco.json?preprocessing={folder}/p.toml")


@pytest.mark.parametrize(
    "text",
    [
        "names: {1: dog, 0: cat}\n",
        "names:  # of the classes\n  1: 'dog'\n  0: cat  # a cat\n",
        "names:\n- cat\n# the other\n- dog\nnc: 2\n",
    ],
)
def test_names_of_a_data_yaml_go_by_their_numbers(folder: Path, text: str) -> None:
    (folder / "classes.txt").unlink(missing_ok=True)
    (folder / "data.yaml").write_text(text)
    assert open_source(f"{folder}?preprocessing={folder}/p.toml").names == ("cat", "dog")


def test_names_that_leave_out_a_number_are_refused(folder: Path) -> None:
    (folder / "classes.txt").unlink(missing_ok=True)
    (folder / "data.yaml").write_text("names:\n  0: cat\n  2: dog\n")
    with pytest.raises(DataError, match="not numbered from 0 on"):
        open_source(f"{folder}?preprocessing={folder}/p.toml")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"annotations": [{"image_id": 1, "category_id": 1, "bbox": [0, 0, float("nan"), 1]}]}, "a number that is none"),
        ({"annotations": [{"image_id": 1, "category_id": 1, "bbox": [0, 0, -2, 1]}]}, "a size below 0"),
        ({"annotations": [{"image_id": 1, "category_id": float("inf"), "bbox": [0, 0, 1, 1]}]}, "not COCO's annotations"),
        ({"images": [{"id": 1, "file_name": "a.png"}] * 2, "annotations": []}, "2 images with 1 different ids"),
    ],
)
def test_coco_files_that_contradict_themselves_are_refused(
    tmp_path: Path, change: dict[str, list[dict[str, object]]], said: str
) -> None:
    Image.new("RGB", (6, 4)).save(tmp_path / "a.png")
    (tmp_path / "p.toml").write_text('width = 4\nheight = 4\ninput = "x"\n')
    whole = {"images": [{"id": 1, "file_name": "a.png"}], "annotations": [], "categories": [{"id": 1, "name": "cat"}]}
    (tmp_path / "c.json").write_text(json.dumps({**whole, **change}))
    with pytest.raises(DataError, match=said):
        open_source(f"{tmp_path}/c.json?preprocessing={tmp_path}/p.toml")
