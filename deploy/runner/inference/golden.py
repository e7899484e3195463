"""Run a bundle's golden raw inputs, from raw data to the named answer, and compare with the recorded answers."""

from __future__ import annotations

from typing import Any, Callable, List, Mapping, Sequence, Union

from . import MissingPackageError
from .compare import disagreement
from .pipeline import Bundle

__all__ = ["Bundle", "MissingPackageError", "Raw", "check_raw", "raw_of"]

Raw = Union[str, Sequence[str]]


def raw_of(bundle: Bundle, entry: Mapping[str, Any]) -> Raw:
    """Return the raw input of an entry of ``golden.raw``: a text, or the path of a file."""
    raw: Raw = entry["input"]["text"] if "text" in entry["input"] else bundle.path(entry["input"]["file"])
    return raw


def check_raw(bundle: Bundle, predict: Callable[[Raw], Mapping[str, Any]]) -> List[str]:
    """Return what is wrong, one line for each raw input whose answer is not the recorded one.

    Args:
        bundle: whose raw inputs are tried.
        predict: returns the answer for a raw input; an app's own function.
    """
    problems = []
    for index, entry in enumerate(bundle.manifest["golden"].get("raw", [])):
        problem = disagreement(predict(raw_of(bundle, entry)), entry["answer"])
        if problem:
            problems.append(f"raw input {index}: {problem}")
    return problems
