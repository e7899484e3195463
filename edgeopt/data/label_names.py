"""Names of classes: those of the data and those in the model's config are the same, or it is an error."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgeopt.errors import DataError, nearest

_PLACEHOLDER = re.compile(r"LABEL_\d+")


def has_names(model: Sequence[str]) -> bool:
    """Return whether a model's names mean anything: transformers writes LABEL_0, LABEL_1, … where no names were given."""
    return bool(model) and not all(_PLACEHOLDER.fullmatch(name) for name in model)


def are_known(names: Sequence[str], model: Sequence[str]) -> bool:
    """Return whether each of the names is the name of one of the model's classes."""
    return has_names(model) and {_plain(name) for name in names} <= {_plain(name) for name in model}


def numbered(values: Sequence[str], model: Sequence[str], *, where: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return the numbers of labels that are names, and the names by number.

    Args:
        values: of the samples.
        model: names of the model's classes, by number; empty, or placeholders: the data's names are numbered alphabetically.
        where: the file and the column, for the error.

    Raises:
        DataError: a label is none of the model's classes, or there are more labels than classes.
    """
    found = sorted(set(values))
    if not has_names(model):
        if model and len(found) > len(model):
            raise DataError(f"{where}: has {len(found)} different labels ({some_of(found)}), the model {len(model)} classes")
        numbers = {name: number for number, name in enumerate(found)}
        return np.array([numbers[value] for value in values], np.int64), tuple(found)
    plain = {_plain(name): number for number, name in enumerate(model)}
    missing = [name for name in found if _plain(name) not in plain]
    if missing:
        raise DataError(
            f"{where}: the label '{missing[0]}' is none of the model's classes{nearest(missing[0], list(model))}: "
            f"{some_of(model)}; rename the labels, or write the data's names into id2label of the model's config.json"
        )
    return np.array([plain[_plain(value)] for value in values], np.int64), tuple(model)


def numbers_as_names(values: Sequence[str]) -> tuple[str, ...]:
    """Return the names by number of classes whose names are numbers.

    Most counts from 0 or 1 without gaps. One with gaps of a few classes (a split that has no sample of them) keeps its numbers;
    numbers that are codes, such as 4 and 9, or 207 and 281, are numbered in order.
    """
    found = sorted(set(values), key=lambda name: (int(name), name))
    first, last = int(found[0]), int(found[-1])
    known = {int(name): name for name in found}
    if first > 1 or last - first + 1 >= 2 * len(found) or len(known) < len(found):  # ("1" and "01" are two classes)
        return tuple(found)
    return tuple(known.get(number, str(number)) for number in range(first, last + 1))


def ordered_names(values: Sequence[str]) -> tuple[str, ...]:
    """Return the names by number where the model has none: in the order of the numbers that they are, else alphabetically."""
    if values and all(value.isdecimal() for value in values):
        return numbers_as_names(values)
    return tuple(sorted(set(values)))


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().lower()


def some_of(names: Sequence[str]) -> str:
    """Return the first few of the names, for a message."""
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
