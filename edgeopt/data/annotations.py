"""Labels that are not one class per sample: boxes of an image, the answer in a text, the words of a recording."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IGNORED = -100
"""Class of a position that has no label: special tokens, the later tokens of a word, pixels on an edge."""


@dataclass(frozen=True)
class BoxTruth:
    """The objects in an image.

    Attributes:
        boxes: float32 [objects, 4], x0 y0 x1 y1 in the image's pixels.
        classes: int64 [objects].
        crowd: bool [objects]: a region of many objects, which is neither missed nor found wrongly.
    """

    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]
    crowd: NDArray[np.bool_]


@dataclass(frozen=True)
class SpanTruth:
    """The answer to a question.

    Attributes:
        start: token with which it starts; 0 (the first special token) where there is none or it was cut off.
        end: token with which it ends.
        texts: answers that count as right.
    """

    start: int
    end: int
    texts: tuple[str, ...]


@dataclass(frozen=True)
class TokenPlaces:
    """Where the tokens of a text are: character offsets (start, end), and the text (0 or 1) each is from; None: special.

    It has the form that ``deploy/runner/inference/decoding.py`` reads.
    """

    text: str
    offsets: tuple[tuple[int, int], ...]
    sequences: tuple[int | None, ...]


@dataclass(frozen=True)
class ImagePlace:
    """Where an image lies in the model's input: x_input = x · scale + offset; `size` and `input_size` are (width, height).

    It has the form that ``deploy/runner/inference/decoding.py`` reads.
    """

    size: tuple[int, int]
    input_size: tuple[int, int]
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Words:
    """The tokens of a sample's text, and how tokens become a text."""

    tokens: tuple[int, ...]
    to_text: Callable[[Sequence[int]], str]
