"""Pruned models by row: runs `edgeopt prune` as its users would, then measures what came out of it.

    python -m benchmarks.prune train --data DATA --work FOLDER [--rows sst2-2x …] [--seeds 1]
    python -m benchmarks.prune measure --data DATA --work FOLDER [--rows …]          (wants a quiet machine)

Rows that are done are kept in FOLDER and not trained again. `measure` exports both models, makes int8 forms of them, and times
all four in turns, one thread; it prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeopt.lifetime import temporary_folder
from edgeopt.models.load import load_model
from edgeopt.prune.latency.bench import Bench, bench
from edgeopt.stages.pruned_files import Timing
from edgeopt.targets.target import load_target

_TARGET = "x86-vnni"
_TURNS = 5


@dataclass(frozen=True)
class Row:
    """One line of the table: a model below the data folder, its data, and the options of `edgeopt prune`."""

    model: str
    train: str
    evaluate: str
    options: Sequence[str]

    def command(self, data: Path, output: Path, seed: int) -> list[str]:
        """Return the arguments of edgeopt."""
        places = [text.replace("DATA", str(data)) for text in (self.model, self.train, self.evaluate)]
        model, train, evaluate = places
        given = ["--train", train, "--evaluate", evaluate, "--teacher", model, "--target", _TARGET, "--seed", str(seed)]
        return ["prune", model, *given, *self.options, "-o", str(output)]


_SST2 = ("DATA/sst2_teacher", "sst2", "sst2")
ROWS: Mapping[str, Row] = {
    "sst2-2x": Row(*_SST2, ["--latency", "0.5x", "--set", "train.epochs=1"]),
    "sst2-4x": Row(*_SST2, ["--latency", "0.25x", "--set", "train.epochs=5"]),
}


def main() -> None:
    """Train or measure the rows that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "measure"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rows", nargs="*", default=list(ROWS))
    arguments = parser.parse_args()
    places = [(name, seed, arguments.work / name / str(seed)) for name in arguments.rows for seed in range(arguments.seeds)]
    if arguments.what == "train":
        for name, seed, place in places:
            _train(ROWS[name], arguments.data, place, seed)
        return
    print("| row | seed | metric, whole | pruned | fp32 ms, whole | pruned | × | int8 ms, whole | pruned | × |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name, seed, place in places:
        if (place / "said.txt").is_file():
            print(f"| {name} | {seed} | {_measured(ROWS[name], arguments.data, place)} |", flush=True)


def _train(row: Row, data: Path, place: Path, seed: int) -> None:
    said = place / "said.txt"
    if said.is_file():
        return
    place.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "edgeopt", *row.command(data, place / "model", seed)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout, flush=True)
    if done.returncode == 0:
        said.write_text(done.stdout, encoding="utf-8")


def _measured(row: Row, data: Path, place: Path) -> str:
    """Return the cells of a row: metric and latency of the whole and the pruned model, fp32 and int8."""
    said = (place / "said.txt").read_text(encoding="utf-8")
    values = [float(value) for value in re.findall(r"^\S+ of .*: (\d+\.\d+)$", said, re.MULTILINE)][-2:]
    cells = [f"{value:.4f}" for value in values]
    target = load_target(_TARGET)
    with temporary_folder("edgeopt-prune-bench-") as folder, bench(target) as made:
        times = _times([row.model.replace("DATA", str(data)), str(place / "model")], made, Path(folder))
    for whole, pruned in ((times[0], times[1]), (times[2], times[3])):
        cells += [f"{whole:.2f}", f"{pruned:.2f}", f"{whole / pruned:.2f}"]
    (place / "times.json").write_text(json.dumps(times), encoding="utf-8")
    return " | ".join(cells)


def _times(sources: Sequence[str], made: Bench, folder: Path) -> list[float]:
    """Return the median over turns of the latency of every source, first fp32, then int8."""
    timing = Timing(made.target)
    files = []
    for number, source in enumerate(sources):
        loaded = load_model(source)
        path, inputs = timing.export(loaded.module, loaded.task, folder / str(number))
        files.append((path, inputs))
    files += [(timing.convert(path, [inputs]), inputs) for path, inputs in files]
    rounds = [[made.time_ms(path, inputs) for path, inputs in files] for _ in range(_TURNS)]
    return [float(value) for value in np.median(np.array(rounds), axis=0)]


if __name__ == "__main__":
    main()
