"""Run several models over the same samples side by side, and keep their answers; outputs are compared and forgotten.

Holding the outputs of a detector, a segmenter or a language model for a whole data set would take gigabytes. So the models run
sample by sample in one order, and what is kept of the outputs are the answers and the sums of the errors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np

from edgeopt import progress
from edgeopt.batches import Array
from edgeopt.data.outputs import Outputs, Runnable, one_by_one, reading_order
from edgeopt.errors import DataError
from edgeopt.tasks.task import Answer, Task, about_sample


@dataclass
class OutputError:
    """Difference of one output from another model's, summed over samples."""

    squared_error: float = 0.0
    squared_reference: float = 0.0
    values: int = 0
    max_abs_error: float = 0.0

    def add(self, ours: Array, theirs: Array) -> None:
        """Count one more sample."""
        reference = np.asarray(theirs, np.float64)
        difference = np.abs(np.asarray(ours, np.float64) - reference)
        self.squared_error += float(np.square(difference).sum())
        self.squared_reference += float(np.square(reference).sum())
        self.values += reference.size
        self.max_abs_error = max(self.max_abs_error, float(difference.max(initial=0.0)))

    @property
    def relative(self) -> float:
        """Return the root mean square of the difference, as a share of that of the reference."""
        if not self.values:
            return 0.0
        scale = float(np.sqrt(self.squared_reference / self.values))
        error = float(np.sqrt(self.squared_error / self.values))
        return error / scale if scale > 0 else error


@dataclass
class Evaluated:
    """One model's answers, in the order of the samples, and by output its errors against another model."""

    name: str
    answers: list[Answer]
    errors: dict[str, OutputError] = field(default_factory=dict)
    distances: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Sum and count of what the task calls distances, such as KL."""
    unlike: Counter[str] = field(default_factory=Counter)
    """By output, samples for which it has another shape than the other model's; its error leaves them out."""

    def distance(self, name: str) -> float | None:
        """Return the mean of a distance; None: it was not found."""
        total, count = self.distances.get(name, (0.0, 0.0))
        return total / count if count else None

    @property
    def left_out(self) -> list[str]:
        """What the errors leave out, one line for each output."""
        return [
            f"{self.name}: output '{name}' has another shape than the other model's for {count} of {len(self.answers)} "
            "samples, which its output error leaves out"
            for name, count in self.unlike.items()
        ]

    def compare(self, ours: Outputs, theirs: Outputs) -> None:
        """Count the difference of one more sample's outputs: outputs of one name, or the only ones of both."""
        if len(ours) == len(theirs) == 1:
            pairs = {next(iter(ours)): (next(iter(ours.values())), next(iter(theirs.values())))}
        else:
            pairs = {name: (ours[name], theirs[name]) for name in theirs if name in ours}
        for name, (own, other) in pairs.items():
            if np.shape(own) != np.shape(other):
                self.unlike[name] += 1
            elif np.issubdtype(np.asarray(other).dtype, np.number):
                self.errors.setdefault(name, OutputError()).add(own, other)

    def add_distances(self, found: Mapping[str, tuple[float, float]]) -> None:
        """Count one more sample."""
        for name, (total, count) in found.items():
            before = self.distances.get(name, (0.0, 0.0))
            self.distances[name] = (before[0] + total, before[1] + count)


def evaluate_together(models: Sequence[Runnable], task: Task, references: Sequence[int | None]) -> list[Evaluated]:
    """Run all models over their samples.

    Args:
        models: with the same samples, each in its own form.
        task: gives the answers.
        references: for each model the number of the model whose outputs its own are compared with; None: of none.

    Raises:
        DataError: there are no samples, or a model's outputs are not those of the task.
    """
    samples = models[0].samples
    if not len(samples):
        raise DataError("there are no samples to evaluate on")
    order, padded = reading_order(models)
    found = [Evaluated(model.name, [None] * len(samples)) for model in models]
    names = " and ".join(model.name for model in models)
    streams = [one_by_one(model, order, padded=padded) for model in models]
    with ExitStack() as stack:
        advance = stack.enter_context(progress.task(f"evaluate {names}", total=len(order)))
        own: dict[int, Task] = {}
        for index, rows in zip(order, zip(*streams, strict=True), strict=True):
            for number, outputs in enumerate(rows):
                samples = models[number].samples
                if number not in own:
                    own[number] = task.fitted(outputs, samples)
                about = about_sample(samples, index)
                found[number].answers[index] = own[number].answer(outputs, samples[index], about)
                reference = references[number]
                if reference is not None:
                    found[number].compare(outputs, rows[reference])
                    found[number].add_distances(own[number].distances(outputs, rows[reference]))
            advance(1)
    return found


def usable(task: Task, models: Sequence[Runnable]) -> Task:
    """Return `task`; where the samples have no labels and the models do not give its outputs, one that takes any outputs."""
    from edgeopt.tasks.outputs_only import OutputsOnly

    samples = models[0].samples
    if task.is_labelled(samples) or not len(samples):
        return task
    try:
        for model in models:
            outputs = next(one_by_one(model, [0], padded=True))
            task.fitted(outputs, model.samples).answer(outputs, model.samples[0], about_sample(model.samples, 0))
    except DataError as error:
        progress.note(f"judged by agreement and output error alone: {error}")
        return OutputsOnly()
    return task
