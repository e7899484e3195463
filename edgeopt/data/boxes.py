"""Images with boxes: COCO's annotations in one .json file, or YOLO's folders.

annotations.json?images=train2017     {"images": […], "annotations": […], "categories": […]}
data/                                 images/ and labels/: <name>.txt with "class x_centre y_centre width height" per box,
                                      relative to the image; no file, no box. Names in data.yaml, classes.txt or *.names
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeopt.data.annotations import BoxTruth
from edgeopt.data.image_place import place_of
from edgeopt.data.images import image_files, image_size, read_image
from edgeopt.data.label_names import has_names, numbered
from edgeopt.data.preprocessing import ImageInput
from edgeopt.data.samples import Samples
from edgeopt.documents import read_json, read_text
from edgeopt.errors import DataError
from edgeopt.files import sha256

_MOST_CLASSES = 1_000_000
_NUMBERS = 5  # of one box in a YOLO file


@dataclass(frozen=True)
class BoxData:
    """Images, their boxes, and the names of the classes by number (empty: not known)."""

    files: list[Path]
    truths: list[BoxTruth]
    names: tuple[str, ...]


def read_boxes(
    path: Path, name: str, steps: ImageInput, *, images: Path | None = None, model_names: tuple[str, ...] = ()
) -> Samples:
    """Return images with boxes as samples for the input `name`; the boxes are in the images' own pixels.

    Args:
        path: COCO's .json file, or the folder of YOLO's.
        name: the model's input.
        steps: how images become inputs.
        images: folder of COCO's images; None: beside the file.
        model_names: names of the model's classes by number; empty: not known.

    Raises:
        DataError: a file is missing or damaged, or a class is none of the model's.
    """
    found = read_yolo(path) if path.is_dir() else read_coco(path, images or path.parent)
    truths, names = _matched(found, model_names, path)
    places = [place_of(image_size(file), steps) for file in found.files]
    digest = hashlib.sha256(f"{steps.model_dump_json()} {names}".encode())
    for file, truth in zip(found.files, truths, strict=True):
        digest.update(f"{file.name} {sha256(file)}".encode())
        digest.update(truth.boxes.tobytes() + truth.classes.tobytes())
    return Samples(
        len(found.files),
        lambda index: {name: read_image(found.files[index], steps)},
        None,
        digest.hexdigest(),
        annotations=truths,
        contexts=places,
        names=names,
    )


def _matched(found: BoxData, model_names: tuple[str, ...], path: Path) -> tuple[list[BoxTruth], tuple[str, ...]]:
    """Return the boxes with the model's class numbers, where both have names."""
    if not found.names or not has_names(model_names):
        return found.truths, found.names or model_names
    used = sorted({int(number) for truth in found.truths for number in truth.classes})
    numbers, _ = numbered([found.names[number] for number in used], model_names, where=str(path))
    of_model = dict(zip(used, numbers.tolist(), strict=True))
    truths = [
        BoxTruth(truth.boxes, np.array([of_model[int(one)] for one in truth.classes], np.int64), truth.crowd)
        for truth in found.truths
    ]
    return truths, model_names


def read_yolo(folder: Path) -> BoxData:
    """Return the images in ``images/`` with the boxes in ``labels/``.

    Raises:
        DataError: there are no images, or a line is not five numbers within the image.
    """
    files = image_files(folder / "images") or sorted(
        file for inner in _folders(folder / "images") for file in image_files(inner)
    )
    if not files:
        raise DataError(f"{folder / 'images'}: no images here")
    names = _names_of(folder)
    truths = []
    for file in files:
        labels = folder / "labels" / file.relative_to(folder / "images").with_suffix(".txt")
        truths.append(_yolo_boxes(labels, image_size(file), len(names)))
    return BoxData(files, truths, names)


def _folders(path: Path) -> list[Path]:
    return sorted(inner for inner in path.iterdir() if inner.is_dir())


def _yolo_boxes(path: Path, size: tuple[int, int], classes: int) -> BoxTruth:
    rows: list[list[float]] = []
    lines = read_text(path, error=DataError, what="boxes").splitlines() if path.is_file() else []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            values = [float(cell) for cell in line.split()]
        except ValueError as error:
            raise DataError(f"{path}: line {number} is not numbers: {error}") from error
        if len(values) < _NUMBERS or not np.isfinite(values).all() or values[0] < 0 or not values[0].is_integer():
            raise DataError(
                f"{path}: line {number} is not a box; write: class x_centre y_centre width height, relative to the image"
            )
        if classes and int(values[0]) >= classes:
            raise DataError(f"{path}: line {number} has class {int(values[0])}, and there are names of {classes} classes")
        if values[0] > _MOST_CLASSES:
            raise DataError(
                f"{path}: line {number} has class {values[0]:.0f}; classes are numbered from 0 to {_MOST_CLASSES:,}"
            )
        if max(values[1:_NUMBERS]) > 1.01 or min(values[1:3]) < -0.01 or min(values[3:5]) < 0:
            raise DataError(f"{path}: line {number} has numbers above 1 or below 0; boxes are relative to the image")
        rows.append(values[:_NUMBERS])
    table = np.array(rows, np.float64).reshape(-1, _NUMBERS)
    whole = np.array([*size, *size], np.float64)
    centre, half = table[:, 1:3], table[:, 3:5] / 2
    corners = np.concatenate([centre - half, centre + half], axis=1) * whole
    return BoxTruth(corners.astype(np.float32), table[:, 0].astype(np.int64), np.zeros(len(table), bool))


def _names_of(folder: Path) -> tuple[str, ...]:
    """Return the names in a classes.txt or a .names file, or the list `names` of a data.yaml."""
    lists = [folder / "classes.txt", *sorted(folder.glob("*.names"))]
    for path in lists:
        if path.is_file():
            return tuple(line.strip() for line in read_text(path, error=DataError, what="names").splitlines() if line.strip())
    for path in sorted(folder.glob("*.yaml")):
        lines = read_text(path, error=DataError, what="names").splitlines()
        start = next((place for place, line in enumerate(lines) if line.startswith("names:")), None)
        if start is not None:
            return _yaml_names(lines[start:], path)
    return ()


def _yaml_names(lines: Sequence[str], path: Path) -> tuple[str, ...]:
    """Return the names of a data.yaml: a list, or names by number, in brackets or one per line ("- cat", "0: cat").

    Raises:
        DataError: the numbers are not those from 0 on.
    """
    first = re.sub(r"\s#.*", "", lines[0].partition(":")[2]).strip()
    if first[:1] in {"[", "{"}:
        whole = "".join([first, *lines[1:]])[1:].partition("]" if first[0] == "[" else "}")[0]
        items = [item.strip() for item in whole.split(",")]
    else:
        behind = itertools.takewhile(lambda line: not line.strip() or line.startswith((" ", "-", "#")), lines[1:])
        items = [re.sub(r"(^|\s)#.*", "", line).strip() for line in behind]
    numbers: list[int] = []
    names: list[str] = []
    for item in filter(None, items):
        numbered_item = re.fullmatch(r"['\"]?(\d{1,9})['\"]?\s*:\s*(.*)", item)
        numbers.append(int(numbered_item[1]) if numbered_item else len(numbers))
        names.append((numbered_item[2] if numbered_item else item.removeprefix("-")).strip().strip("'\""))
    if sorted(numbers) != list(range(len(numbers))):
        raise DataError(f"{path}: its names are not numbered from 0 on")
    return tuple(name for _, name in sorted(zip(numbers, names, strict=True)))


def read_coco(path: Path, images: Path) -> BoxData:
    """Return the images of a COCO .json file with their boxes; classes are numbered in the order of the categories' ids.

    Raises:
        DataError: it is not COCO's form, or an image is missing.
    """
    values: Any = read_json(path, error=DataError, what="annotations")
    try:
        categories = sorted(values.get("categories", []), key=lambda item: int(item["id"]))
        numbers = {int(item["id"]): place for place, item in enumerate(categories)}
        names = tuple(str(item.get("name", item["id"])) for item in categories)
        rows = {int(item["id"]): str(item["file_name"]) for item in values["images"]}
        boxes: dict[int, list[tuple[list[float], int, bool]]] = {number: [] for number in rows}
        for item in values["annotations"]:
            left, top, width, height = (float(value) for value in item["bbox"])
            number = numbers[int(item["category_id"])]
            boxes[int(item["image_id"])].append(([left, top, left + width, top + height], number, bool(item.get("iscrowd", 0))))
    except (TypeError, KeyError, ValueError, AttributeError, ArithmeticError) as error:
        raise DataError(f"{path}: not COCO's annotations: {type(error).__name__}: {error}") from error
    _check_coco(path, boxes, len(values["images"]))
    files = [_image(images, file_name) for file_name in rows.values()]
    if not files:
        raise DataError(f"{path}: no images in it")
    return BoxData(files, [_truth_of(found) for found in boxes.values()], names)


def _check_coco(path: Path, boxes: Mapping[int, list[tuple[list[float], int, bool]]], count: int) -> None:
    """Refuse two images of one number, and boxes that are none."""
    if len(boxes) != count:
        raise DataError(f"{path}: lists {count} images with {len(boxes)} different ids; give each its own")
    for number, found in boxes.items():
        for (left, top, right, bottom), _, _ in found:
            if not (np.isfinite([left, top, right, bottom]).all() and right >= left and bottom >= top):
                raise DataError(f"{path}: image {number} has a box with a size below 0 or a number that is none")


def _truth_of(found: list[tuple[list[float], int, bool]]) -> BoxTruth:
    return BoxTruth(
        np.array([box for box, _, _ in found], np.float32).reshape(-1, 4),
        np.array([number for _, number, _ in found], np.int64),
        np.array([crowd for _, _, crowd in found], bool),
    )


def _image(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / "images" / name, folder / Path(name).name):
        if path.is_file():
            return path
    raise DataError(f"{folder / name}: the annotations name this image, and it is not there; say where with ?images=FOLDER")
