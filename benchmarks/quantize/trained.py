"""Transformers for images and sound, trained here because the data holds none that are: minutes on two cores, once.

- vit: a small ViT (4 layers, 96 wide, patches of 4×4) on 25,000 of CIFAR-10's JPEG files, distilled from ResNet-20.
- ast: a small audio spectrogram transformer (4 layers, 96 wide) on spoken digits.
- cnn: three convolutions on the same spectrograms.

Train alone, before the quiet window: ``python -m benchmarks.quantize.trained --data DATA --work FOLDER``.
"""

from __future__ import annotations

import argparse
import io
import math
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.quantize.tasks import Sample, Task, export_logits

Floats = NDArray[np.float32]
_MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)[:, None, None]
_STD = np.array([0.229, 0.224, 0.225], dtype=np.float32)[:, None, None]
MELS, FRAMES = 64, 64


def vit(data: Path, work: Path, seed: int, count: int) -> Task:
    """The image transformer on CIFAR-10's 5,000 test files; calibration from the training files, picked by `seed`."""
    (train, _), (test, labels) = images(data)
    path = work / "vit-cifar10.onnx"
    if not path.is_file():
        export_logits(_trained(work / "vit.pt", lambda: _train_vit(data)), {"pixel_values": torch.zeros(2, 3, 32, 32)}, path)
    return _task("vit-cifar10", path, "pixel_values", (train, test, labels), (seed, count))


def ast(data: Path, work: Path, seed: int, count: int) -> Task:
    """The audio transformer on 600 held-out recordings; calibration from the 1,400 others, picked by `seed`."""
    return _digits("ast", data, work, (seed, count))


def cnn(data: Path, work: Path, seed: int, count: int) -> Task:
    """The convolutional net on the same recordings."""
    return _digits("cnn", data, work, (seed, count))


def _digits(name: str, data: Path, work: Path, pick: tuple[int, int]) -> Task:
    (train, train_labels), (test, labels) = recordings(data)
    path = work / f"{name}-fsdd.onnx"
    if not path.is_file():
        build = _build_ast if name == "ast" else SoundNet
        epochs = 60 if name == "ast" else 30
        model = _trained(work / f"{name}.pt", lambda: _fit(build(), train, train_labels, epochs=epochs))
        export_logits(model, {"input_values": torch.zeros(2, FRAMES, MELS)}, path)
    return _task(f"{name}-fsdd", path, "input_values", (train, test, labels), pick)


def _task(name: str, path: Path, key: str, split: tuple[Floats, Floats, NDArray[np.int64]], pick: tuple[int, int]) -> Task:
    train, test, labels = split
    picked = np.random.default_rng(pick[0]).permutation(len(train))[: pick[1]]

    def single(array: Floats) -> Sample:
        return {key: array[None]}

    return Task(name, path, [single(train[i]) for i in picked], [single(x) for x in test], labels)


def images(data: Path) -> tuple[tuple[Floats, NDArray[np.int64]], tuple[Floats, NDArray[np.int64]]]:
    """Return (images [n, 3, 32, 32], labels) of the training and of the test files."""
    from PIL import Image

    stored = np.load(data / "cifar10_jpeg" / "cifar10_jpeg.npz")
    jpeg, offset, labels, split = (stored[key] for key in ("jpeg", "offset", "label", "split"))
    values = np.empty((len(labels), 3, 32, 32), dtype=np.float32)
    for index in range(len(labels)):
        image = Image.open(io.BytesIO(jpeg[offset[index] : offset[index + 1]].tobytes()))
        values[index] = (np.asarray(image, dtype=np.float32).transpose(2, 0, 1) / 255 - _MEAN) / _STD
    train, test = split == 0, split == 1
    return (values[train], labels[train].astype(np.int64)), (values[test], labels[test].astype(np.int64))


def recordings(data: Path) -> tuple[tuple[Floats, NDArray[np.int64]], tuple[Floats, NDArray[np.int64]]]:
    """Return (log-mel spectrograms [n, frames, mels], labels): recordings 15 to 49 of each digit and speaker, and 0 to 14."""
    files = sorted((data / "fsdd" / "recordings").glob("*.wav"))
    held = np.array([int(file.stem.split("_")[2]) < 15 for file in files])
    labels = np.array([int(file.stem.split("_")[0]) for file in files])
    values = np.stack([spectrogram(file) for file in files])
    values = (values - values[~held].mean()) / values[~held].std()
    return (values[~held], labels[~held]), (values[held], labels[held])


def spectrogram(file: Path) -> Floats:
    """Return 64 frames (padded or cut, 10 ms apart) of 64 log-mel values of an 8 kHz recording."""
    from scipy.io import wavfile

    _, wave = wavfile.read(file)
    wave = np.pad(wave.astype(np.float32) / 32768, (0, max(0, 80 * FRAMES + 256 - len(wave))))
    windows = np.lib.stride_tricks.sliding_window_view(wave, 256)[::80][:FRAMES] * np.hanning(256).astype(np.float32)
    power = np.abs(np.fft.rfft(windows, 512)) ** 2
    return np.log(power @ _mel_filters(257, MELS, 4000.0).T + 1e-6).astype(np.float32)


def _mel_filters(bins: int, mels: int, top_hz: float) -> NDArray[Any]:
    """Return triangles [mels, bins] evenly spaced on the mel scale."""
    edges = 700 * (10 ** (np.linspace(0, 2595 * math.log10(1 + top_hz / 700), mels + 2) / 2595) - 1)
    hz = np.linspace(0, top_hz, bins)
    rising = (hz - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - hz) / np.diff(edges)[1:, None]
    return np.maximum(0, np.minimum(rising, falling))


class SoundNet(nn.Module):
    """Three convolutions with normalisation, mean over time and frequency, one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        sizes = (1, 24, 48, 96)
        self.layers = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d(2))
                for a, b in pairwise(sizes)
            )
        )
        self.head = nn.Linear(96, 10)

    def forward(self, input_values: Tensor) -> Any:
        """Map [n, frames, mels] to logits [n, 10]."""
        return _Logits(self.head(self.layers(input_values[:, None]).mean((2, 3))))


class _Logits:
    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


def _build_ast() -> nn.Module:
    from transformers import ASTConfig, ASTForAudioClassification

    config = ASTConfig(
        hidden_size=96, num_hidden_layers=4, num_attention_heads=4, intermediate_size=384, patch_size=8, frequency_stride=8,
        time_stride=8, max_length=FRAMES, num_mel_bins=MELS, num_labels=10,
    )  # fmt: skip
    return ASTForAudioClassification(config)


def _build_vit() -> nn.Module:
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        hidden_size=96, num_hidden_layers=4, num_attention_heads=4, intermediate_size=384, image_size=32, patch_size=4,
        num_labels=10,
    )  # fmt: skip
    return ViTForImageClassification(config)


def _trained(path: Path, train: Callable[[], nn.Module]) -> nn.Module:
    """Train once; afterwards the weights lie in `path`."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(0)
        torch.save(train().state_dict(), path)
    model = {"vit.pt": _build_vit, "ast.pt": _build_ast, "cnn.pt": SoundNet}[path.name]()
    model.load_state_dict(torch.load(path, weights_only=True))
    return model.eval()


def _train_vit(data: Path) -> nn.Module:
    (values, labels), _ = images(data)
    values, labels = values[::2].copy(), labels[::2].copy()
    return _fit(_build_vit(), values, labels, epochs=6, soft=_teacher_logits(data, values), flip=True)


def _fit(
    model: nn.Module,
    values: Floats,
    labels: NDArray[np.int64],
    *,
    epochs: int,
    soft: Tensor | None = None,
    flip: bool = False,
) -> nn.Module:
    """Train with AdamW, one cycle of the learning rate, shifts of up to 4 steps; soft labels (T = 3) where there are any."""
    inputs, targets = torch.from_numpy(values), torch.from_numpy(labels)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    size = 128 if len(values) > 10_000 else 32
    steps = epochs * (len(values) // size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-3, total_steps=steps)
    generator = torch.Generator().manual_seed(0)
    begin = time.perf_counter()
    for epoch in range(epochs):
        model.train()
        seen = correct = 0
        for chosen in torch.randperm(len(values), generator=generator).split(size)[: len(values) // size]:
            batch = inputs[chosen]
            if flip and torch.rand((), generator=generator) < 0.5:
                batch = batch.flip(-1)
            shift = [int(x) for x in torch.randint(-4, 5, (2,), generator=generator)]
            batch = batch.roll(shift, dims=(-2, -1)) if flip else batch.roll(shift[0], dims=1)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=flip):
                logits = model(batch).logits.float()
            loss = F.cross_entropy(logits, targets[chosen])
            if soft is not None:
                loss = 0.3 * loss + 0.7 * 9 * F.kl_div(
                    F.log_softmax(logits / 3, -1), F.softmax(soft[chosen] / 3, -1), reduction="batchmean"
                )
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            seen, correct = seen + len(chosen), correct + int((logits.argmax(-1) == targets[chosen]).sum())
        print(
            f"epoch {epoch + 1}/{epochs}: {correct / seen:.3f} on training data, {time.perf_counter() - begin:.0f} s",
            flush=True,
        )
    return model


def _teacher_logits(data: Path, values: Floats) -> Tensor:
    """Return ResNet-20's logits (He et al. 2015, section 4.2; shortcuts without weights)."""
    from safetensors.torch import load_file

    weights = load_file(data / "cifar10_resnets" / "resnet20.safetensors")

    def norm(x: Tensor, name: str) -> Tensor:
        keys = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(weights[f"{name}.{key}"] for key in keys))

    def block(x: Tensor, name: str, stride: int) -> Tensor:
        inner = F.relu(norm(F.conv2d(x, weights[f"{name}.conv1.weight"], stride=stride, padding=1), f"{name}.bn1"))
        inner = norm(F.conv2d(inner, weights[f"{name}.conv2.weight"], padding=1), f"{name}.bn2")
        if stride == 2:
            more = inner.shape[1] // 4
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, more, more))
        return F.relu(inner + x)

    def logits(x: Tensor) -> Tensor:
        x = F.relu(norm(F.conv2d(x, weights["conv1.weight"], padding=1), "bn1"))
        for stage in (1, 2, 3):
            for number in range(3):
                x = block(x, f"layer{stage}.{number}", 2 if stage > 1 and number == 0 else 1)
        return F.linear(x.mean((2, 3)), weights["linear.weight"], weights["linear.bias"])

    with torch.inference_mode():
        parts = [logits(part) for part in torch.from_numpy(values).split(250)]
    return torch.cat(parts).clone()


def main() -> None:
    """Train and export all of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=("cnn", "ast", "vit"), default=("cnn", "ast", "vit"))
    arguments = parser.parse_args()
    for name in arguments.only:
        task = {"cnn": cnn, "ast": ast, "vit": vit}[name](arguments.data, arguments.work, 0, 1)
        print(f"{task.name}: {task.model}", flush=True)


if __name__ == "__main__":
    main()
