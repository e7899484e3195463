"""Labels: whether they can be a model's classes, in its order, and whether a split has samples of all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgeopt.errors import DataError

_NAMED = 8  # numbers of missing classes that a warning lists
_FEWEST = 20  # samples, below which any model may be wrong


def check_labels(labels: NDArray[np.int64], classes: int, *, where: str) -> None:
    """Make sure that each label is the number of one of the model's classes.

    Args:
        labels: of the samples.
        classes: how many the model tells apart.
        where: what is wrong with them, in the error.

    Raises:
        DataError: a label is negative or too large.
    """
    if not labels.size:
        return
    low, high = int(labels.min()), int(labels.max())
    if low >= 0 and high < classes:
        return
    advice = "are they counted from 1? subtract 1" if low == 1 and high == classes else "number the classes as the model does"
    raise DataError(
        f"{where}: labels from {low} to {high} are impossible for a model of {classes} classes (0 to {classes - 1}); {advice}"
    )


def check_names(names: Sequence[str], classes: int, *, where: str) -> None:
    """Make sure that data which name their classes name as many as the model tells apart; else their numbers are a guess.

    Raises:
        DataError: they name fewer, or more.
    """
    if len(names) in {0, classes}:
        return
    some = ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
    raise DataError(
        f"{where}: the data name {len(names)} classes ({some}) and the model tells {classes} apart, so which of them has which "
        "number is not known; name all of them in the model's order: ?classes=A,B,… behind the source"
    )


def known_classes(labels: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """Return the classes that samples have, from 0 to the largest: one that no sample has is missing, too."""
    return np.arange(0 if labels is None else int(labels.max(initial=-1)) + 1, dtype=np.int64)


def missing_classes(labels: NDArray[np.int64] | None, known: NDArray[np.int64], *, where: str) -> str | None:
    """Return a warning if samples miss classes that are `known` although there are enough samples for all; else None."""
    if labels is None or len(labels) < len(known):
        return None
    missing = np.setdiff1d(known, labels)
    if not missing.size:
        return None
    named = ", ".join(map(str, missing[:_NAMED])) + (", …" if missing.size > _NAMED else "")
    return f"{where} has no samples of {missing.size} of {len(known)} classes ({named}); what it shows is not about them"


def no_better_than_guessing(share_right: float, labels: NDArray[np.int64]) -> str | None:
    """Return a warning if answers are right no more often than one class is frequent, else None."""
    if len(labels) < _FEWEST:
        return None
    guess = float(np.bincount(labels).max() / len(labels))
    if guess == 1 or share_right > guess + 2 * np.sqrt(guess * (1 - guess) / len(labels)):
        return None
    return (
        f"the first model is right on {share_right:.1%} of the samples, and the most frequent class alone on {guess:.1%}: are "
        "the labels numbered as the model numbers its classes, and the inputs prepared as it was trained?"
    )
