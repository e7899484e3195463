"""@@NAME@@: @@TASK@@. `predict` takes raw data and returns a named answer."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Sequence, Union

from app.inference.pipeline import Bundle

BUNDLE = Path(__file__).resolve().parent / "bundle"
Raw = Union[str, bytes, Sequence[str]]
__all__ = ["BUNDLE", "bundle", "predict", "predict_many"]


@functools.lru_cache(maxsize=1)
def bundle() -> Bundle:
    """Return the bundle, opened once."""
    return Bundle(str(BUNDLE))


def predict(path_or_text: Raw) -> dict[str, Any]:
    """Return the answer for the path (or the bytes) of a file, or for a text (two, where the model takes pairs).

    Raises:
        ValueError: the input cannot be read.
    """
    return bundle().predict(path_or_text)


def predict_many(inputs: Sequence[Raw]) -> list[dict[str, Any]]:
    """Return one answer for each input, in batches where the model takes them."""
    return bundle().predict_many(inputs)
