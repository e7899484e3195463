"""Which head a model needs for labelled samples, and whether it has one.

A transformers model is trained for the samples' task and classes: where it has a head for them, that is trained further; where
it has none (a pretrained encoder) or one for other classes, a new head takes its place (`edgeopt.models.new_head`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edgeopt.data.label_names import has_names
from edgeopt.errors import DataError
from edgeopt.tasks.registry import find_task, task_for

if TYPE_CHECKING:
    from edgeopt.data.samples import Samples
    from edgeopt.tasks.task import Task

_INPUTS = (
    ("input_ids", "text-classification"),
    ("pixel_values", "image-classification"),
    ("input_values", "audio-classification"),
    ("input_features", "audio-classification"),
)
_OF_TASK = {
    "token-classification": "token-classification",
    "question-answering": "question-answering",
    "text-generation": "text-generation",
    "text2text-generation": "text2text-generation",
}
_OF_INPUTS = ("single-label-classification", "multi-label-classification", "regression")
_VALUE = ("value",)
_CLASSES = ("single-label-classification", "multi-label-classification", "token-classification")


_HEADLESS = ("feature-extraction", "fill-mask")


class Head(NamedTuple):
    """A head: its task with the hub's name, and the names of its classes by number; empty: it has no classes."""

    task: str
    names: tuple[str, ...] = ()


def reading_task(asked: str | None, own: str) -> str | None:
    """Return the task that samples are read for: an encoder without a head says nothing of it."""
    return asked or (None if own in _HEADLESS else own)


def missing_head(samples: Samples, asked: str | None, own: str, names: Sequence[str]) -> Head | None:
    """Return the head that a model lacks for labelled samples; None: it has one, or none can be made.

    Args:
        samples: read without the names of the model's classes.
        asked: the task that the user names; None: what the samples' labels and the model's head are for.
        own: the task of the model's head, with the hub's name.
        names: of its classes by number.

    Raises:
        DataError: the samples have no labels of the task.
    """
    task = find_task(asked) if asked else task_for(samples, reading_task(None, own))
    if asked is None and own in _HEADLESS and task.name == "regression":
        return None  # pairs with scores: the encoder's own vectors are trained
    wanted = head_for(task, samples)
    return wanted if wanted is not None and not fits(Head(own, tuple(names)), wanted) else None


def head_for(task: Task, samples: Samples) -> Head | None:
    """Return the head that a model needs for `task` and the labels of `samples`; None: none that can be made.

    Raises:
        DataError: the samples have no labels of the task.
    """
    hub = _OF_TASK.get(task.name)
    if task.name in _OF_INPUTS:
        hub = next((hub for name, hub in _INPUTS if name in samples[0]), None)
    if hub is None:
        return None
    if task.name == "regression":
        return Head(hub, _VALUE)
    return Head(hub, _names(samples, task) if task.name in _CLASSES else ())


def fits(model: Head, wanted: Head) -> bool:
    """Return whether a model's head answers all of the wanted classes.

    Names that mean nothing (LABEL_0) stand for the numbers of classes; a model may have classes that no sample has.
    """
    if model.task != wanted.task or len(wanted.names) > len(model.names):
        return model.task == wanted.task and not wanted.names
    if wanted.names == _VALUE:
        return len(model.names) == 1
    if not has_names(model.names) or all(name.isdigit() for name in wanted.names):
        return True
    return {_plain(name) for name in wanted.names} <= {_plain(name) for name in model.names}


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().lower()


def _names(samples: Samples, task: Task) -> tuple[str, ...]:
    """Return the names of the samples' classes; of classes that have none, their numbers."""
    if samples.names:
        return tuple(samples.names)
    if samples.labels is not None:
        return _numbers(int(np.max(samples.labels)) + 1)
    if not samples.annotations:
        raise DataError(f"the training split has no labels, and {task.name} needs {task.wanted}")
    arrays = [np.asarray(one) for one in samples.annotations]
    if task.name == "multi-label-classification":
        return _numbers(len(arrays[0]))
    return _numbers(max(int(one.max(initial=0)) for one in arrays) + 1)


def _numbers(count: int) -> tuple[str, ...]:
    return tuple(str(number) for number in range(count))


def described(task: str, names: Sequence[str] = ()) -> str:
    """Return a head in words: "text-classification with 3 classes (bad, fair, good)"."""
    if not names or tuple(names) == _VALUE:
        return task
    some = ", ".join(names[:6]) + (", …" if len(names) > 6 else "")
    return f"{task} with {len(names)} classes ({some})"
