"""What a smaller model lost against the one it was made of, in lines for the terminal.

Where no evaluation samples are given, both are compared on some training samples. That flatters a model that was trained on
them, which is said; but a model that is broken is never called done in silence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeopt.data.samples import Samples
    from edgeopt.evaluate.stage import Evaluation
    from edgeopt.models.load import LoadedModel

SEEN = 256
"""Training samples that stand in for evaluation samples."""


@dataclass(frozen=True)
class Candidate:
    """A model and the samples it is judged on, as it takes them.

    Attributes:
        name: as the user gave it.
        model: in evaluation mode.
        samples: of all candidates the same, in the same order.
    """

    name: str
    model: LoadedModel
    samples: Samples


def side_by_side(whole: Candidate, smaller: Candidate, *, task: str | None = None) -> Evaluation:
    """Return how good both models are; the whole one comes first.

    Raises:
        DataError: samples or outputs do not fit the task.
    """
    from edgeopt.evaluate.lockstep import evaluate_together, usable
    from edgeopt.evaluate.outputs import torch_model
    from edgeopt.evaluate.stage import judged
    from edgeopt.tasks.registry import find_task, task_for

    both = (whole, smaller)
    chosen = find_task(task) if task else task_for(whole.samples, whole.model.purpose)
    models = [torch_model(one.model.module, chosen, one.samples, name=one.name) for one in both]
    fitting = usable(chosen, models)
    return judged(evaluate_together(models, fitting, [None, 0]), fitting, whole.samples)


def lost_lines(whole: Candidate, smaller: Candidate, *, task: str | None = None) -> Iterator[str]:
    """Yield the metric of both models on evaluation samples, and how sure their difference is."""
    found = side_by_side(whole, smaller, task=task)
    first, second = found.models
    for score in (first, second) if found.labelled else ():
        yield f"{score.metric} of {score.name}: {score.value:.4f}"
    differs = second.paired
    if differs is not None:
        yield f"difference: {differs.difference:+.4f} ({differs.low:+.4f} to {differs.high:+.4f}){_changed(found)}"
    else:
        yield f"compared with {first.name}: {_likeness(found)}"


def seen_lines(whole: Candidate, smaller: Candidate, *, task: str | None = None) -> Iterator[str]:
    """Yield how alike both models are on samples that they were trained on."""
    found = side_by_side(whole, smaller, task=task)
    first, second = found.models
    metric = f", {second.metric} {second.value:.4f} of {first.value:.4f}" if found.labelled else ""
    yield (
        f"on {found.samples} training samples, compared with {first.name}: {_likeness(found)}{metric}; "
        "--evaluate DATA judges on others"
    )


def _changed(found: Evaluation) -> str:
    changed = found.models[1].changed
    return "" if changed is None else f", {changed:,} of {found.samples:,} answers changed"


def _likeness(found: Evaluation) -> str:
    second = found.models[1]
    agreement = [] if second.agreement is None else [f"agreement {second.agreement:.4f}"]
    error = [] if second.output_error is None else [f"output error {second.output_error:.1%}"]
    return ", ".join([*agreement, *error]) or "no outputs to compare"
