"""Students of the SST-2 teacher: accuracy on the test split by kind of student and by loss, over seeds, with the control.

    python -m benchmarks.distill --data DATA --work FOLDER [--seeds 3] [--rows "3 x 384" …]

Each row is trained for a fixed number of steps. The best weights are chosen on the development split; the test split is looked
at once. Rows that are done are kept in FOLDER and not trained again, killed ones resume. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeopt.cli.progress_bars import shown
from edgeopt.data.samples import Samples
from edgeopt.data.sets import load_set
from edgeopt.distill.config import DistillOptions
from edgeopt.distill.stage import Material, distill
from edgeopt.models.load import load_model
from edgeopt.tasks.registry import find_task
from edgeopt.train.loop import Session
from edgeopt.train.task_loss import evaluator

_SOFT: Mapping[str, Any] = {"temperature": 2.0, "soft_weight": 1.0}
_HIDDEN: Mapping[str, Any] = {**_SOFT, "hidden_weight": 1.0}
_TWO, _THREE = [2, 5], [1, 3, 5]
_SHORT: Mapping[str, Any] = {"augment": "none", "epochs": 3.0}


def _views(count: int) -> dict[str, Any]:
    return {"views": count, "text": {"whole": 0.4, "join": 0.15}}


_NARROW: Mapping[str, Any] = {"learning_rate": 5e-4, "epochs": 12.0, "augment": _views(4)}
ROWS: Mapping[str, Mapping[str, Any]] = {
    "3 x 384": {"layers": _THREE, "loss": _HIDDEN, "train": {"epochs": 12.0, "augment": _views(12), "keep": "last"}},
    "3 x 192": {"layers": _THREE, "width": 192, "loss": _HIDDEN, "train": _NARROW},
    "2 x 192": {"layers": _TWO, "width": 192, "loss": _HIDDEN, "train": _NARROW},
    "3 x 384, hard labels": {
        "layers": _THREE,
        "loss": {"soft_weight": 0.0, "hidden_weight": 0.0},
        "train": {**_SHORT, "learning_rate": 5e-5},
    },
    "3 x 384, + soft": {"layers": _THREE, "loss": {**_SOFT, "hidden_weight": 0.0}, "train": _SHORT},
    "3 x 384, + hidden": {"layers": _THREE, "loss": _HIDDEN, "train": _SHORT},
    "3 x 384, + relations": {
        "layers": _THREE,
        "loss": {**_SOFT, "hidden_weight": 0.0, "relation_weight": 1.0},
        "train": _SHORT,
    },
    "3 x 384, + hidden + views": {"layers": _THREE, "loss": _HIDDEN, "train": {"epochs": 3.0, "augment": _views(3)}},
}
"""The last five, of three epochs each, are the ablation: hard labels alone, and what each part of the loss adds."""


@dataclass(frozen=True)
class Splits:
    """Training, development and test samples."""

    train: Samples
    development: Samples
    test: Samples


def main() -> None:
    """Train what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", nargs="*", default=list(ROWS))
    arguments = parser.parse_args()
    folder = arguments.data / "sst2_teacher"
    found = load_set("sst2", tokenizer=folder)
    splits = Splits(found["train"], found["calibration"], found["evaluation"])
    print("| student | parameters | MACs | test accuracy: mean (lowest to highest) | seeds |\n|---|---|---|---|---|")
    with shown(quiet=False):
        for name in arguments.rows:
            results = [trained(name, seed, folder, splits, arguments) for seed in range(arguments.seeds)]
            values = [result["accuracy"] for result in results]
            spread = f"{statistics.mean(values):.4f} ({min(values):.4f} to {max(values):.4f})"
            print(f"| {name} | {results[0]['parameters']:,} | {results[0]['macs']:,} | {spread} | {len(values)} |", flush=True)


def trained(name: str, seed: int, folder: Path, splits: Splits, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of one student; those of an earlier call are read."""
    place = arguments.work / name.replace(" ", "-").replace(",", "") / str(seed)
    figures = place / "figures.json"
    if figures.is_file():
        return dict(json.loads(figures.read_text(encoding="utf-8")))
    row = ROWS[name]
    options = DistillOptions.read({**row}, where=name)
    task = find_task("text-classification")
    session = Session(seed, place / "checkpoint", name)
    material = Material(splits.development, task=task)
    result = distill(
        load_model(folder, task="text-classification"),
        splits.train,
        output=place / "student",
        options=options,
        session=session,
        material=material,
    )
    score = evaluator(task, splits.test)(load_model(place / "student", task="text-classification").module)
    values = {
        "accuracy": score.value,
        "parameters": result.student.parameters,
        "macs": result.student.macs,
        "steps": result.steps,
    }
    figures.write_text(json.dumps(values), encoding="utf-8")
    return values


if __name__ == "__main__":
    main()
