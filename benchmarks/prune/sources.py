"""Samples of the rows, as `edgeopt prune --train` and `--evaluate` name them: made below a folder out of the data folder.

photographs    1,000 with ImageNet's classes, in random order: the first half trains, the second half evaluates
cifar10        its own split of training and test images
coco128        128 with boxes, every second one trains
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import tomli_w

_MEAN, _SCALE = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


def make_sources(data: Path, work: Path) -> dict[str, str]:
    """Write what is missing below `work`; return the texts that name samples, by name and split."""
    work.mkdir(parents=True, exist_ok=True)
    cifar = {"kind": "image", "input": "image", "width": 32, "height": 32, "mean": _MEAN, "scale": _SCALE}
    boxes = {"kind": "image", "input": "images", "width": 416, "height": 416, "colour": "BGR", "scale": [1.0]}
    letterbox = {"letterbox": True, "pad": [114.0], "pad_position": "corner"}
    (work / "cifar10.toml").write_text(tomli_w.dumps(cifar), encoding="utf-8")
    (work / "coco128.toml").write_text(tomli_w.dumps({**boxes, **letterbox}), encoding="utf-8")
    found = {}
    for split in ("train", "test"):
        archive = data / "cifar10_jpeg" / "cifar10_jpeg.npz"
        found[f"cifar10-{split}"] = f"{archive}?split={split}&preprocessing={work / 'cifar10.toml'}"
        found[f"photographs-{split}"] = _photographs(data, work, split)
        found[f"coco128-{split}"] = f"{_boxes(data, work, split)}?preprocessing={work / 'coco128.toml'}"
    return found


def _photographs(data: Path, work: Path, split: str) -> str:
    folder = data / "nips17_imagenet_compatible"
    with (folder / "images.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    order = np.random.default_rng(0).permutation(len(rows))
    half = len(rows) // 2
    table = work / f"photographs-{split}.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "class"])
        for index in order[:half] if split == "train" else order[half:]:
            image = next((folder / "images").glob(rows[index]["ImageId"] + ".*"))
            writer.writerow([image.name, int(rows[index]["TrueLabel"]) - 1])
    processor = data / "mobilenetv2_imagenet" / "hf" / "preprocessor_config.json"
    return f"{table}?image=file&label=class&images={folder / 'images'}&preprocessing={processor}"


def _boxes(data: Path, work: Path, split: str) -> Path:
    """Link every second image with its boxes into a folder of its own."""
    folder, source = work / f"coco128-{split}", data / "coco128_train"
    images = sorted((source / "images").iterdir())[0 if split == "train" else 1 :: 2]
    for image in images:
        label = source / "labels" / f"{image.stem}.txt"
        for file in (image, label):
            place = folder / file.parent.name / file.name
            place.parent.mkdir(parents=True, exist_ok=True)
            if file.exists() and not place.is_symlink():
                place.symlink_to(file)
    return folder
