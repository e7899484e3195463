"""Tasks by name, with the names that the hub, transformers and optimum have for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from edgeopt.errors import RecipeError, nearest
from edgeopt.tasks.outputs_only import OutputsOnly
from edgeopt.tasks.single_label import SingleLabel
from edgeopt.tasks.task import Task
from edgeopt.user_code import named

if TYPE_CHECKING:
    from edgeopt.data.samples import Samples

TASKS: Mapping[str, Callable[[], Task]] = {
    "single-label-classification": SingleLabel,
}
"""Tasks by their own names."""

ALIASES: Mapping[str, str] = {
    "text-classification": "single-label-classification",
    "sequence-classification": "single-label-classification",
    "zero-shot-classification": "single-label-classification",
    "image-classification": "single-label-classification",
    "audio-classification": "single-label-classification",
}
"""Names of the hub and of optimum (`optimum.exporters.tasks`) for them."""


def task_names() -> list[str]:
    """Return all names that `find_task` knows, sorted."""
    return sorted({*TASKS, *ALIASES})


def find_task(name: str) -> Task:
    """Return the task called `name`: its own name, an alias, or a user's ``module:callable``.

    Raises:
        RecipeError: there is no such task.
    """
    if ":" in name:
        return _own(name)
    plain = name.partition("/")[0].removesuffix("-with-past")
    known = ALIASES.get(plain, plain)
    if known not in TASKS:
        names = task_names()
        raise RecipeError(f"task '{name}' is not known{nearest(plain, names)}; known: {', '.join(names)}, or module:callable")
    return TASKS[known]()


def task_for(samples: Samples, *names: str | None) -> Task:
    """Return the task that the first of `names` states (None, and ones that are no tasks of this package, are passed over).

    Where none does, samples with one class each are a single-label classification, and others are judged by outputs alone.
    """
    for name in names:
        if name is not None and (":" in name or ALIASES.get(plain := name.partition("/")[0], plain) in TASKS):
            return find_task(name)
    return SingleLabel() if samples.labels is not None else OutputsOnly()


def _own(name: str) -> Task:
    try:
        with named(name) as make:
            task = make() if callable(make) else make
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise RecipeError(f"task '{name}': cannot be made: {error}; give an importable module:callable") from error
    if not isinstance(task, Task):
        raise RecipeError(f"task '{name}': gives {type(task).__name__}; it must give an edgeopt.tasks.Task")
    return task
