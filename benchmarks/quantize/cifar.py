"""ResNet-20 for CIFAR-10 (option-A shortcuts), as an ONNX file, and images for it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeopt.data.samples import Samples

_MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
_STD = np.array([0.229, 0.224, 0.225], dtype=np.float32)


def cifar(data: Path, split: str, count: int, seed: int = 0) -> Samples:
    """Return `count` images of a split (train or test), picked by `seed`, as inputs of the network, with labels."""
    from PIL import Image

    with np.load(data / "cifar10_jpeg" / "cifar10_jpeg.npz") as stored:
        jpeg, offset, labels = stored["jpeg"], stored["offset"], stored["label"].astype(np.int64)
        own = np.flatnonzero(stored["split"] == (split == "test"))
    picked = np.random.default_rng(seed).permutation(own)[:count]

    def read(index: int) -> dict[str, NDArray[Any]]:
        place = picked[index]
        image = Image.open(io.BytesIO(jpeg[offset[place] : offset[place + 1]].tobytes())).convert("RGB")
        pixels = np.asarray(image, dtype=np.float32) / 255
        return {"image": np.ascontiguousarray(((pixels - _MEAN) / _STD).transpose(2, 0, 1))}

    return Samples(len(picked), read, labels[picked], f"cifar10 {split} {count} {seed}")


def export_resnet20(data: Path, path: Path) -> Path:
    """Write the network to `path` if it is not there yet."""
    import torch

    from benchmarks.prune.networks import ResNet, load_resnet

    if path.is_file():
        return path
    network = load_resnet(ResNet(3), data / "cifar10_resnets" / "resnet20.safetensors")
    example = torch.zeros(2, 3, 32, 32)
    shapes = {"image": {0: torch.export.Dim("batch")}}
    program = torch.onnx.export(network.eval(), (example,), dynamo=True, dynamic_shapes=shapes, input_names=["image"])
    program.save(path)
    return path
