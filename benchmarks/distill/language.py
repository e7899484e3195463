"""A language model with half of its layers: perplexity of the student that learns from the teacher, and of its control.

    python -m benchmarks.distill.language TEACHER --data DATA --work FOLDER [--windows 384] [--seeds 1]

TEACHER is a transformers folder (SmolLM2: DATA/smollm2/make.py writes one). Both students start as every second layer of the
teacher and see the same windows of WikiText-2's validation split once, in the same order; the control learns the next tokens
alone. Judged on the first windows of the test split, for which nothing is chosen. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from edgeopt.cli.progress_bars import shown
from edgeopt.data.samples import Samples
from edgeopt.data.select import limited
from edgeopt.data.source import open_source
from edgeopt.data.source_options import Reader
from edgeopt.distill.config import DistillOptions
from edgeopt.distill.stage import Material, distill
from edgeopt.models.load import load_model
from edgeopt.tasks.registry import find_task
from edgeopt.train.loop import Session

_LENGTH = 128
_JUDGED = 64
_LOSS = {"temperature": 1.0, "soft_weight": 0.9, "hidden_weight": 0.0}
_TRAIN = {"epochs": 1.0, "batch_size": 4, "learning_rate": 5e-4, "keep": "last"}


def main() -> None:
    """Train both students per seed and print their perplexities."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("teacher", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--windows", type=int, default=384)
    parser.add_argument("--judged", type=int, default=_JUDGED)
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    corpora = arguments.data / "text_corpora"
    train = limited(windows(corpora / "wikitext2_valid.txt", arguments.teacher), arguments.windows)
    judged = windows(corpora / "wikitext2_test.txt", arguments.teacher).take(range(arguments.judged))
    teacher = load_model(arguments.teacher, task="text-generation")
    half = int(teacher.module.config.num_hidden_layers) // 2  # type: ignore[union-attr, arg-type]
    known = {"layer_count": half, "control": True, "seeds": arguments.seeds, "loss": _LOSS, "train": _TRAIN}
    session = Session(0, arguments.work / "checkpoint", f"{arguments.windows} {arguments.judged}")
    with shown(quiet=False):
        result = distill(
            teacher,
            train,
            output=arguments.work / "student",
            options=DistillOptions.read(known, where="benchmark"),
            session=session,
            material=Material(judged, task=find_task("text-generation")),
        )
    print("| model | parameters | MACs per window | perplexity |\n|---|---|---|---|")
    print(f"| teacher | {result.teacher.parameters:,} | {result.teacher.macs:,} | {result.teacher_score:.2f} |")
    for trial in result.trials:
        size = f"{result.student.parameters:,} | {result.student.macs:,}"
        print(f"| {trial.kind}, seed {trial.seed} | {size} | {trial.value:.2f} |")


def windows(path: Path, tokenizer: Path) -> Samples:
    """Return a text as windows of tokens."""
    reader = Reader(("input_ids", "attention_mask"), tokenizer, task="text-generation")
    return open_source(f"{path}?max_length={_LENGTH}", reader)


if __name__ == "__main__":
    main()
