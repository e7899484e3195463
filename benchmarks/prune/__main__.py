"""Pruned models by row: runs `edgeopt prune` as its users would, then measures what came out of it.

    python -m benchmarks.prune train --data DATA --work FOLDER [--rows sst2-2x …] [--seeds 1]
    python -m benchmarks.prune prepare --data DATA --work FOLDER [--rows …]
    python -m benchmarks.prune measure --data DATA --work FOLDER [--rows …]          (wants a quiet machine)

Rows that are done are kept in FOLDER and not trained again. `prepare` exports the whole and the pruned model, quantizes both
with 128 training samples, and evaluates all four; `measure` times them in turns, one thread, and prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.prune.sources import make_sources
from edgeopt.cli.training_inputs import training_samples
from edgeopt.data.select import limited
from edgeopt.graph.files import size_bytes
from edgeopt.models.load import load_model
from edgeopt.prune.latency.bench import bench
from edgeopt.quantize import quantize
from edgeopt.stages.pruned_files import Timing
from edgeopt.targets.target import load_target

_TARGET = "x86-vnni"
_TURNS, _CALIBRATION = 7, 128


@dataclass(frozen=True)
class Row:
    """One line of the table: a model below the data folder, its data, and the options of `edgeopt prune`."""

    model: str
    train: str
    evaluate: str
    options: Sequence[str]

    def placed(self, data: Path, work: Path) -> Row:
        """Return the row with the paths of this machine."""
        known = make_sources(data, work / "sources")
        model, train, evaluate = (
            known.get(text, text.replace("DATA", str(data))) for text in (self.model, self.train, self.evaluate)
        )
        return Row(model, train, evaluate, self.options)

    def command(self, output: Path, seed: int) -> list[str]:
        """Return the arguments of edgeopt."""
        model, train, evaluate = self.model, self.train, self.evaluate
        given = ["--train", train, "--evaluate", evaluate, "--teacher", model, "--target", _TARGET, "--seed", str(seed)]
        return ["prune", model, *given, *self.options, "-o", str(output)]


_PHOTOGRAPHS = ("DATA/mobilenetv2_imagenet/hf", "photographs-train", "photographs-test")
_YOLOX = ("benchmarks.prune.networks:yolox_nano", "coco128-train", "coco128-test")
_PARTS = ["--set", "importance=obs", "--set", "calibration_samples=128", "--set", "search_rounds=8"]
_INNER = ["--set", 'ignore=["*.reduce_1x1.normalization", "*.conv_stem.*"]']
_SHORT = ["--set", "train.epochs=3", "--set", "train.batch_size=16", "--set", "train.learning_rate=2e-4"]
_BOXES = ["--set", "train.epochs=12", "--set", "train.batch_size=8"]
_SST2 = ("DATA/sst2_teacher", "sst2", "sst2")
ROWS: Mapping[str, Row] = {
    "sst2-2x": Row(*_SST2, ["--latency", "0.5x", "--set", "train.epochs=1"]),
    "sst2-5x": Row(*_SST2, ["--latency", "0.2x", "--set", "train.epochs=2"]),
    "sst2-4x": Row(*_SST2, ["--latency", "0.25x", "--set", "train.epochs=5"]),
    "mobilenetv2": Row(*_PHOTOGRAPHS, ["--latency", "0.78x", *_PARTS, *_INNER, *_SHORT, "--set", "loss.temperature=2.0"]),
    "mobilenetv2-fit": Row(*_PHOTOGRAPHS, ["--latency", "0.78x", *_PARTS, *_INNER, "--set", "recovery=fit"]),
    **{
        f"yolox-{level}": Row(*_YOLOX, ["--macs", f"{1 - level / 100:.2f}x", *_PARTS, *_BOXES, "--set", "round_to=8"])
        for level in (10, 30, 50)
    },
}


def main() -> None:
    """Train or measure the rows that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "prepare", "measure"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rows", nargs="*", default=list(ROWS))
    arguments = parser.parse_args()
    places = [(name, seed, arguments.work / name / str(seed)) for name in arguments.rows for seed in range(arguments.seeds)]
    if arguments.what == "train":
        for name, seed, place in places:
            _train(ROWS[name].placed(arguments.data, arguments.work), place, seed)
        return
    if arguments.what == "prepare":
        for name, _, place in places:
            if (place / "said.txt").is_file():
                _prepare(ROWS[name].placed(arguments.data, arguments.work), place)
        return
    print("| row | seed | file | metric | ms | whole model's ms / ms | MB |\n|---|---|---|---|---|---|---|")
    for name, seed, place in places:
        if (place / "metrics.json").is_file():
            for line in _measured(place):
                print(f"| {name} | {seed} | {line} |", flush=True)


def _train(row: Row, place: Path, seed: int) -> None:
    said = place / "said.txt"
    if said.is_file():
        return
    place.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "edgeopt", *row.command(place / "model", seed)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout, flush=True)
    if done.returncode == 0:
        said.write_text(done.stdout, encoding="utf-8")


FILES = ("whole", "pruned", "whole-int8", "pruned-int8")


def _prepare(row: Row, place: Path) -> None:
    """Export both models, quantize them, and evaluate all four files."""
    files = {name: place / name / "model.onnx" for name in FILES}
    for name, source in (("whole", row.model), ("pruned", str(place / "model"))):
        loaded = load_model(source)
        timing = Timing(load_target(_TARGET), samples=training_samples(row.train, loaded))
        if not files[name].is_file():
            timing.export(loaded.module, loaded.task, files[name].parent)
        small = files[f"{name}-int8"]
        small.parent.mkdir(parents=True, exist_ok=True)
        if not small.is_file():
            samples = limited(training_samples(row.train, loaded), _CALIBRATION)
            quantize(files[name], list(samples.batches(1)), target=timing.target, output=small)
    command = [sys.executable, "-m", "edgeopt", "evaluate", *map(str, files.values()), "--format", "json"]
    tokenizer = ["--tokenizer", row.model] if (Path(row.model) / "tokenizer.json").is_file() else []
    done = subprocess.run([*command, *tokenizer, "--data", row.evaluate], stdout=subprocess.PIPE, check=True)
    (place / "metrics.json").write_bytes(done.stdout)


def _measured(place: Path) -> list[str]:
    """Return the cells of the four files: metric, latency, how many times faster than the whole model, size."""
    metrics = [one["value"] for one in json.loads((place / "metrics.json").read_text(encoding="utf-8"))["models"]]
    files = [place / name / "model.onnx" for name in FILES]
    inputs = [Timing(load_target(_TARGET)).inputs(file) for file in files]
    with bench(load_target(_TARGET)) as made:
        turns = [[made.time_ms(*one) for one in zip(files, inputs, strict=True)] for _ in range(_TURNS)]
    times = [float(value) for value in np.median(np.array(turns), axis=0)]
    (place / "times.json").write_text(json.dumps(turns), encoding="utf-8")
    return [
        f"{name} | {metric:.4f} | {ms:.2f} | {times[0] / ms:.2f} | {size_bytes(file) / 1e6:.1f}"
        for name, metric, ms, file in zip(FILES, metrics, times, files, strict=True)
    ]


if __name__ == "__main__":
    main()
