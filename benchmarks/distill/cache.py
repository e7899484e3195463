"""How much the teacher's cache saves: seconds per epoch in which the teacher runs, and in which its outputs are read.

    python -m benchmarks.distill.cache --data DATA --work FOLDER

Three epochs over the first 640 sentences of SST-2, one clean view each: the first asks the teacher, the others read.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeopt.data.select import limited
from edgeopt.data.sets import load_set
from edgeopt.distill.student import keep_layers
from edgeopt.models.load import load_model
from edgeopt.train.callbacks import Callback, Step
from edgeopt.train.config import DistillLoss, TrainOptions
from edgeopt.train.loop import Session
from edgeopt.train.teach import Lesson, teach
from edgeopt.train.watch import Watch

_SAMPLES, _BATCH, _EPOCHS = 640, 32, 3
LOSSES: Mapping[str, Mapping[str, Any]] = {"soft labels": {}, "soft labels and hidden states": {"hidden_weight": 1.0}}


@dataclass
class Clock(Callback):
    """The time after each step."""

    times: list[float] = field(default_factory=lambda: [time.perf_counter()])

    def on_step(self, step: Step) -> None:  # noqa: ARG002
        """Note the time."""
        self.times.append(time.perf_counter())


def main() -> None:
    """Print seconds per epoch by loss, with the teacher and with the cache."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    arguments = parser.parse_args()
    folder = arguments.data / "sst2_teacher"
    samples = limited(load_set("sst2", tokenizer=folder)["train"], _SAMPLES)
    print("| loss | teacher runs, s per epoch | outputs read, s per epoch | saved |\n|---|---|---|---|")
    for name, loss in LOSSES.items():
        teacher = load_model(folder, task="text-classification").module
        student = keep_layers(teacher, [1, 3, 5])
        shutil.rmtree(arguments.work, ignore_errors=True)
        clock = Clock()
        lesson = Lesson(
            DistillLoss(temperature=2.0, soft_weight=1.0, **loss),
            TrainOptions(epochs=float(_EPOCHS), batch_size=_BATCH, checkpoint_seconds=1e9),
            [1, 3, 5],
            tokenizer=folder,
        )
        teach(student, teacher, samples, lesson=lesson, session=Session(0, arguments.work), watch=Watch(callbacks=[clock]))
        steps = _SAMPLES // _BATCH
        asked, read = clock.times[steps] - clock.times[1], (clock.times[-1] - clock.times[steps]) / (_EPOCHS - 1)
        asked *= steps / (steps - 1)  # (the first step warms up)
        print(f"| {name} | {asked:.1f} | {read:.1f} | {100 * (1 - read / asked):.0f} % |", flush=True)


if __name__ == "__main__":
    main()
