"""The benchmark's tasks: a floating-point ONNX file, calibration samples and held-out samples with labels."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Sample = dict[str, NDArray[Any]]


class Images:
    """Photographs, decoded when they are asked for."""

    def __init__(self, folder: Path, rows: list[dict[str, str]]) -> None:
        self.folder, self.rows = folder, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Sample]:
        from PIL import Image

        for row in self.rows:
            path = next((self.folder / "images").glob(row["ImageId"] + ".*"))
            image = Image.open(path).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)
            values = (np.asarray(image, dtype=np.float32) - 127.5) / 127.5
            yield {"pixel_values": np.ascontiguousarray(values.transpose(2, 0, 1)[None])}


@dataclass(frozen=True)
class Task:
    """What is quantized, on what, and how it is judged: `labels` of the `held_out` samples."""

    name: str
    model: Path
    calibration: Any
    held_out: Any
    labels: NDArray[np.int64]


def mobilenet(data: Path, work: Path, seed: int, count: int) -> Task:
    """MobileNetV2 on 800 held-out photographs; calibration from the 200 others, picked by `seed`."""
    folder = data / "nips17_imagenet_compatible"
    with (folder / "images.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    order = np.random.default_rng(0).permutation(len(rows))
    spare, held = order[:200], order[-800:]
    picked = spare[:count] if seed == 0 else np.random.default_rng(seed).permutation(spare)[:count]
    labels = np.array([int(rows[index]["TrueLabel"]) - 1 for index in held])
    model = _export_mobilenet(data, work)
    calibration, held_out = (Images(folder, [rows[index] for index in chosen]) for chosen in (picked, held))
    return Task("mobilenetv2", model, calibration, held_out, labels)


def sentiment(data: Path, work: Path, seed: int, count: int) -> Task:
    """The SST-2 classifier on its test split; calibration from the training sentences, one at a time, picked by `seed`."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(data / "sst2_teacher")

    def read(split: str) -> tuple[list[int], list[str]]:
        with (data / "sst2" / f"stsa.binary.{split}").open(encoding="utf-8", newline="\n") as file:
            pairs = [line.rstrip("\n").split(" ", 1) for line in file]
        return [int(label) for label, _ in pairs], [text for _, text in pairs]

    def encode(texts: list[str]) -> list[Sample]:
        encoded = (tokenizer(text, truncation=True, max_length=64) for text in texts)
        names = ("input_ids", "attention_mask")
        return [{name: np.array([item[name]], dtype=np.int64) for name in names} for item in encoded]

    _, training = read("train")
    labels, test = read("test")
    picked = np.random.default_rng(seed).permutation(len(training))[:count]
    calibration = encode([training[index] for index in picked])
    return Task("sst2", _export_sentiment(data, work), calibration, encode(test), np.array(labels))


def _trained(name: str) -> Callable[[Path, Path, int, int], Task]:
    """Return a task whose model is trained here, once; its module loads PyTorch, so late."""

    def build(data: Path, work: Path, seed: int, count: int) -> Task:
        from importlib import import_module

        task: Task = getattr(import_module("benchmarks.quantize.trained"), name)(data, work, seed, count)
        return task

    return build


TRAINED_ELSEWHERE = ["mobilenetv2", "sst2"]
"""The tasks whose model comes with the data."""
TASKS = {
    "mobilenetv2": mobilenet,
    "sst2": sentiment,
    "vit-cifar10": _trained("vit"),
    "ast-fsdd": _trained("ast"),
    "cnn-fsdd": _trained("cnn"),
}


def _export_mobilenet(data: Path, work: Path) -> Path:
    path = work / "mobilenetv2.onnx"
    if not path.is_file():
        import torch
        from transformers import MobileNetV2ForImageClassification

        model = MobileNetV2ForImageClassification.from_pretrained(data / "mobilenetv2_imagenet" / "hf").eval()
        _export(model, {"pixel_values": torch.zeros(2, 3, 224, 224)}, {0: "batch"}, path)
    return path


def _export_sentiment(data: Path, work: Path) -> Path:
    path = work / "sst2.onnx"
    if not path.is_file():
        import torch
        from transformers import AutoModelForSequenceClassification

        model = AutoModelForSequenceClassification.from_pretrained(data / "sst2_teacher", dtype=torch.float32).eval()
        ids = torch.full((2, 17), 1000)
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        _export(model, inputs, {0: "batch", 1: "sequence"}, path)
    return path


def export_logits(model: Any, inputs: dict[str, Any], path: Path) -> None:
    """Export a classifier whose only dynamic axis is the batch."""
    _export(model, inputs, {0: "batch"}, path)


def _export(model: Any, inputs: dict[str, Any], axes: dict[int, str], path: Path) -> None:
    import torch

    class Logits(torch.nn.Module):
        def forward(self, *tensors: Any) -> Any:
            return model(**dict(zip(inputs, tensors, strict=True))).logits

    dims = {axis: torch.export.Dim(name) for axis, name in axes.items()}
    program = torch.onnx.export(
        Logits().eval(),
        tuple(inputs.values()),
        dynamo=True,
        opset_version=24,
        dynamic_shapes={"tensors": tuple(dims for _ in inputs)},
        input_names=list(inputs),
        output_names=["logits"],
        verbose=False,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    program.save(path)


def export_model(task: str, data: Path, work: Path) -> Path:
    """Return the floating-point ONNX file of a task, exported if it is not there yet."""
    return _export_mobilenet(data, work) if task == "mobilenetv2" else _export_sentiment(data, work)
