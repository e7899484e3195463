"""Do a few picked samples calibrate as well as many random ones?

    python -m benchmarks.quantize.picks --data DATA --work FOLDER

Every way to pick is tried with several seeds; the int8 model (x86-vnni) is judged on samples that no way could pick. Only
accuracy is measured, so the machine need not be quiet.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import numpy as np
from numpy.typing import NDArray

from benchmarks.quantize.cifar import cifar, export_resnet20
from benchmarks.quantize.tasks import TASKS
from edgeopt.data.samples import Samples
from edgeopt.data.select import radius, select
from edgeopt.data.selection.features import FeatureModel
from edgeopt.evaluate.outputs import onnx_outputs
from edgeopt.quantize import QuantizeConfig, quantize
from edgeopt.targets.target import load_target


@dataclass(frozen=True)
class Question:
    """A model, samples to pick from and samples to judge on, and how many are picked, few and many."""

    model: Path
    pool: Samples
    held_out: Samples
    counts: tuple[int, int]


def _photographs(data: Path, work: Path) -> Question:
    task = TASKS["mobilenetv2"](data, work, 0, 200)
    return Question(task.model, _samples(task.calibration), _samples(task.held_out, task.labels), (64, 200))


def _sentences(data: Path, work: Path) -> Question:
    task = TASKS["sst2"](data, work, 0, 1200)
    return Question(task.model, _samples(task.calibration), _samples(task.held_out, task.labels), (64, 512))


def _thumbnails(data: Path, work: Path) -> Question:
    model = export_resnet20(data, work / "resnet20.onnx")
    return Question(model, cifar(data, "train", 4000), cifar(data, "test", 5000), (64, 512))


QUESTIONS = {"mobilenetv2": _photographs, "sst2": _sentences, "cifar10": _thumbnails}


def _samples(batches: object, labels: NDArray[np.int64] | None = None) -> Samples:
    kept = [{name: array[0] for name, array in batch.items()} for batch in batches]  # type: ignore[attr-defined]
    return Samples(len(kept), lambda index: kept[index], labels, str(len(kept)))


def main() -> None:
    """Run the comparison as asked on the command line, and print one Markdown table per task."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="folder of real models and data")
    parser.add_argument("--work", type=Path, required=True, help="folder for models")
    parser.add_argument("--tasks", nargs="+", choices=list(QUESTIONS), default=list(QUESTIONS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ranges", default="auto")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    for name in arguments.tasks:
        question = QUESTIONS[name](arguments.data, arguments.work)
        print(
            f"## {name}, {len(question.pool)} to pick from, {len(question.held_out)} to judge on, ranges {arguments.ranges}\n"
        )
        print("| picked | radius | accuracy (seeds) | mean | agreement (seeds) | mean |\n|---|---|---|---|---|---|")
        for line in _rows(question, arguments):
            print(line, flush=True)
        print()


def _rows(question: Question, arguments: argparse.Namespace) -> Iterator[str]:
    vectors = FeatureModel(question.model)(question.pool, range(len(question.pool)))
    target = load_target("x86-vnni")
    expected = _answers(question.model, question)
    yield f"| floating point | | | {_accuracy(expected, question):.4f} | | |"
    few, many = question.counts
    for count, how in ((few, "random"), (few, "coverage"), (many, "random")):
        whole = count == len(question.pool)
        accuracies, agreements, radii = [], [], []
        for seed in range(1 if whole else arguments.seeds):
            everything = np.arange(len(question.pool))
            labels, features = question.pool.labels, vectors if how == "coverage" else None
            picked = select(count, everything, labels=labels, features=features, seed=seed)
            output = arguments.work / "picked.onnx"
            config = QuantizeConfig(ranges=arguments.ranges)
            quantize(
                question.model, question.pool.take(picked.tolist()).batches(1), target=target, output=output, config=config
            )
            answers = _answers(output, question)
            accuracies.append(_accuracy(answers, question))
            agreements.append(float((answers == expected).mean()))
            radii.append(radius(vectors, picked))
        cells = [
            f"{count} {how}" if not whole else f"all {count}",
            f"{mean(radii):.2f}",
            ", ".join(f"{value:.4f}" for value in accuracies),
            f"{mean(accuracies):.4f}",
            ", ".join(f"{value:.4f}" for value in agreements),
            f"{mean(agreements):.4f}",
        ]
        yield f"| {' | '.join(cells)} |"


def _answers(model: Path, question: Question) -> NDArray[np.int64]:
    outputs = onnx_outputs(model, question.held_out, provider=load_target("x86-vnni").provider, name=model.name)
    return np.asarray(next(iter(outputs.values())).argmax(axis=1))


def _accuracy(answers: NDArray[np.int64], question: Question) -> float:
    return float((answers == question.held_out.labels).mean())


if __name__ == "__main__":
    main()
