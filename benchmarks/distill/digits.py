"""Spoken digits: a CNN and a transformer that see the same spectrogram, each alone and each taught by the other (CMKD).

    python -m benchmarks.distill.digits --data DATA --work FOLDER [--folds 5] [--seed 0]

All 2,000 recordings are divided into folds; a model is trained on the others and judged on its fold with its last weights, so
nothing is chosen on what is judged. Alone or taught, a model sees the same views for as many steps. Folds that are done are
kept in FOLDER. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgeopt.cli.progress_bars import shown
from edgeopt.data.augment.config import AudioViews, AugmentOptions
from edgeopt.data.augment.views import make_views
from edgeopt.data.preprocessing import AudioInput, Spectrogram
from edgeopt.data.samples import Samples, from_arrays
from edgeopt.data.source import open_source
from edgeopt.data.source_options import Reader
from edgeopt.models.residual_cnn import ResidualCNN
from edgeopt.models.size import measure
from edgeopt.tasks.single_label import SingleLabel
from edgeopt.train.config import DistillLoss, TrainOptions
from edgeopt.train.loop import Session
from edgeopt.train.supervised import train_supervised
from edgeopt.train.task_loss import evaluator
from edgeopt.train.teach import Lesson, teach
from edgeopt.train.watch import Watch

_BANDS, _FRAMES, _CLASSES = 40, 80, 10
_STEPS = AudioInput(
    input="image",
    rate=8000,
    length=6400,
    channel_axes=1,
    features=Spectrogram(frame=200, hop=80, fft=256, mels=_BANDS, log="ln", floor=1e-6, normalise=True, frames=_FRAMES),
)
_VIEWS = AugmentOptions(views=20, audio=AudioViews(shift=0.1, time_masks=1, band_masks=1))
_LOSS = DistillLoss(soft="cross-model", temperature=1.0, soft_weight=0.5)
ROWS = ("CNN alone", "transformer alone", "transformer taught by the CNN", "CNN taught by the transformer")


class Transformer(nn.Module):
    """Spectrogram [N, 1, bands, frames] → tokens of two frames → three layers → mean → logits."""

    def __init__(self, width: int = 64, layers: int = 3) -> None:
        super().__init__()
        self.embed = nn.Linear(2 * _BANDS, width)
        places = torch.arange(_FRAMES // 2)[:, None] * torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
        self.register_buffer("places", torch.stack([places.sin(), places.cos()], dim=-1).flatten(1))
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.1, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, _CLASSES)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits [N, classes]."""
        tokens = image[:, 0].transpose(1, 2).reshape(len(image), -1, 2 * _BANDS)
        states = self.layers(self.embed(tokens) + self.places[: tokens.shape[1]])
        logits: Tensor = self.head(states.mean(dim=1))
        return logits


def main() -> None:
    """Train what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--epochs", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    samples = spectrograms(arguments.data)
    order = np.random.default_rng(arguments.seed).permutation(len(samples))
    found = []
    with shown(quiet=False):
        for fold, judged in enumerate(np.array_split(order, arguments.folds)):
            file = arguments.work / f"{arguments.seed}-{fold}.json"
            if not file.is_file():
                train = samples.take(np.setdiff1d(order, judged).tolist())
                figures = scores(train, samples.take(judged.tolist()), arguments.seed + fold, arguments.epochs)
                file.write_text(json.dumps(figures), encoding="utf-8")
            found.append(json.loads(file.read_text(encoding="utf-8")))
            print(fold, found[-1], flush=True)
    one = samples.collate([0])
    sizes = {"CNN": measure(cnn(), one), "transformer": measure(Transformer(), one)}
    print("| model | parameters | MACs | accuracy (lowest to highest fold) |\n|---|---|---|---|")
    for row in ROWS:
        values, size = [figures[row] for figures in found], sizes[row.split()[0]]
        spread = f"{np.mean(values):.4f} ({min(values):.4f} to {max(values):.4f})"
        print(f"| {row} | {size.parameters:,} | {size.macs:,} | {spread} |")


def cnn() -> nn.Module:
    """Return the CNN, untrained."""
    return ResidualCNN(channels=1, classes=_CLASSES, width=8, stages=3, blocks=1)


def scores(train: Samples, judged: Samples, seed: int, epochs: float) -> Mapping[str, float]:
    """Return the accuracy of each model, alone and taught by the other."""
    options = TrainOptions(epochs=epochs, batch_size=64, learning_rate=2e-3, keep="last", augment=_VIEWS)
    score = evaluator(SingleLabel(), judged)
    models: dict[str, nn.Module] = {}
    for row in ROWS[:2]:
        torch.manual_seed(seed)
        models[row] = cnn() if row.startswith("CNN") else Transformer()
        watch = Watch(views=make_views(train, _VIEWS, seed=seed))
        train_supervised(models[row], train, options=options, session=Session(seed), watch=watch)
    for row, teacher in zip(ROWS[2:], ROWS[:2], strict=True):
        torch.manual_seed(seed)
        models[row] = cnn() if row.startswith("CNN") else Transformer()
        teach(models[row], models[teacher], train, lesson=Lesson(_LOSS, options), session=Session(seed))
    return {row: score(model.eval()).value for row, model in models.items()}


def spectrograms(data: Path) -> Samples:
    """Return all recordings as log-mel spectrograms, computed once."""
    source = f"{data}/fsdd/recordings?label_pattern=^([0-9])_"
    samples = open_source(source, Reader(("image",), preprocessing=_STEPS))
    images: Any = np.concatenate([samples[index]["image"][None] for index in range(len(samples))])
    assert samples.labels is not None
    return from_arrays({"image": images}, samples.labels)


if __name__ == "__main__":
    main()
