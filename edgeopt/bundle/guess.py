"""The decoding of a model whose user names none: from its task, its outputs and its labels.

A guess is one of the usual forms of a task's outputs, recognised by names and sizes; where none fits, the outputs themselves
are the answer. ``--decoding FILE`` names another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from edgeopt.batches import Array
from edgeopt.data.preprocessing import ImageInput, Preprocessing, TokenizerInput
from edgeopt.documents import read_json, read_toml
from edgeopt.errors import DataError
from edgeopt.tasks.decoding import (
    Activation,
    AnswerSpan,
    Argmax,
    Arrays,
    Boxes,
    Ctc,
    Decoding,
    Embedding,
    MultiLabel,
    Segmentation,
    Spans,
    Text,
    Value,
    read_decoding,
)

_CORNERS = 0.98
"""Share of a detector's boxes whose second corner must lie behind the first."""
_STRIDES = ([8, 16, 32], [8, 16, 32, 64], [16, 32])


def read_decoding_file(path: Path) -> Decoding:
    """Return the decoding in a .toml or .json file: its keys, or those of its table ``decoding``.

    Raises:
        DataError: it cannot be read.
        RecipeError: a key or a value is not allowed.
    """
    read = read_json if path.suffix == ".json" else read_toml
    values = read(path, error=DataError, what="the decoding")
    if isinstance(values, dict):
        values = values.get("decoding", values)
    if not isinstance(values, dict):
        raise DataError(
            f'{path}: not a table of decoding options, but {type(values).__name__}; write kind = "…" and its options'
        )
    return read_decoding(values, where=str(path))


def guess_decoding(
    task: str, outputs: Sequence[tuple[str, Array]], *, preprocessing: Preprocessing, labels: Sequence[str]
) -> Decoding:
    """Return how the outputs of a model for `task` become answers.

    Args:
        task: such as image-classification; "generic" or another says little.
        outputs: names and values of the outputs for one golden sample.
        preprocessing: of the model.
        labels: names of its classes.
    """
    name, first = outputs[0]
    if "detection" in task and isinstance(preprocessing, ImageInput):
        found_any = all(values.size for _, values in outputs)  # (a model that suppresses boxes itself may return none)
        return (_boxes(outputs, preprocessing, labels) if found_any else None) or Arrays()
    for words, make in _BY_TASK:
        if any(word in task for word in words):
            return make(outputs)
    if is_of_embeddings(task):
        return Embedding(output=_embedding(outputs, isinstance(preprocessing, TokenizerInput)))
    is_tags = isinstance(preprocessing, TokenizerInput) and first.ndim == 3 and first.shape[-1] == len(labels) > 1
    if is_tags and (any(label.startswith(("B-", "I-")) for label in labels) or "token" in task):
        return Spans(output=name)
    classes = first.size // max(1, len(first)) if first.ndim >= 2 else 0
    if ("classification" in task and first.ndim == 2) or (labels and first.ndim >= 2 and classes == len(labels) > 1):
        return Argmax(output=name, activation=_activation(first))
    return Arrays()


def is_of_embeddings(task: str) -> bool:
    """Return whether the answer of a model for `task` is a vector."""
    return any(word in task for word in ("embedding", "similarity", "feature-extraction"))


def _activation(values: Array) -> Activation:
    """Return what makes scores of these values: nothing if they already sum to 1."""
    rows = np.asarray(values, np.float64).reshape(len(values), -1)
    are_scores = bool(((rows >= 0) & (rows <= 1)).all() and np.allclose(rows.sum(axis=1), 1, atol=2e-2))
    return "none" if are_scores else "softmax"


_Outputs = Sequence[tuple[str, Array]]


def _named(outputs: _Outputs, word: str, other: str) -> str:
    return next((name for name, _ in outputs if word in name.lower()), other)


def _answer(outputs: _Outputs) -> Decoding:
    names = [name for name, _ in outputs]
    return AnswerSpan(start=_named(outputs, "start", names[0]), end=_named(outputs, "end", names[-1]))


def _embedding(outputs: _Outputs, is_text: bool) -> str:
    """Return the output that is pooled already, else the first."""
    for name, values in outputs:
        if values.ndim == 2 and any(
            word in name.lower() for word in ("sentence", "embedding", "pool" if not is_text else "embed")
        ):
            return name
    return outputs[0][0]


_BY_TASK: tuple[tuple[tuple[str, ...], Callable[[_Outputs], Decoding]], ...] = (
    (("question-answering",), _answer),
    (("token-classification", "named-entity"), lambda outputs: Spans(output=outputs[0][0])),
    (("multi-label", "multilabel"), lambda outputs: MultiLabel(output=outputs[0][0])),
    (("segmentation",), lambda outputs: Segmentation(output=outputs[0][0])),
    (("speech-recognition", "ctc"), lambda outputs: Ctc(output=outputs[0][0])),
    (("regression",), lambda outputs: Value(outputs=[name for name, _ in outputs])),
    (("text2text", "translation", "summarization"), lambda outputs: Text(output=outputs[0][0])),
)


def _boxes(outputs: _Outputs, steps: ImageInput, labels: Sequence[str]) -> Boxes | None:
    """Return the decoding of a detector's outputs in one of the usual forms, or None."""
    boxes = next(((name, value) for name, value in outputs if value.ndim == 3 and value.shape[-1] == 4), None)
    scores = next(((name, value) for name, value in outputs if value.ndim == 3 and (boxes is None or name != boxes[0])), None)
    if boxes is not None and scores is not None and scores[1].shape[1] == boxes[1].shape[1]:
        return _pair(boxes, scores, labels)
    name, rows = outputs[0]
    if rows.ndim == 4:
        return _map(name, rows, steps)
    if rows.ndim != 3:
        return None
    for strides in _STRIDES:
        cells = sum(-(-steps.width // stride) * -(-steps.height // stride) for stride in strides)
        if cells == rows.shape[1]:
            return Boxes(output=name, objectness=True, encoding="grid", strides=strides)
    if rows.shape[1] < rows.shape[2]:
        return Boxes(output=name, transposed=True, encoding="cxcywh", unit=_unit(rows[0, :4]))
    return Boxes(output=name, objectness=True, encoding="cxcywh", unit=_unit(rows[0, :, :4]))


def _pair(boxes: tuple[str, Array], scores: tuple[str, Array], labels: Sequence[str]) -> Boxes | None:
    """Return the decoding of boxes beside scores: DETR's (logits, centres, no suppression) or SSD-like."""
    rows = np.asarray(scores[1], np.float64)
    classes = rows.shape[-1]
    if rows.min() < 0 or rows.max() > 1:
        return Boxes(
            boxes=boxes[0], scores=scores[0], encoding="cxcywh", unit="relative", activation="softmax", background=-1,
            iou_threshold=None,
        )  # fmt: skip
    corners = np.asarray(boxes[1], np.float64)
    if float(((corners[..., 2] >= corners[..., 0]) & (corners[..., 3] >= corners[..., 1])).mean()) < _CORNERS:
        return None  # offsets from anchors, which only a file of anchors can decode
    has_background = bool(np.allclose(rows.sum(axis=-1), 1, atol=1e-2)) and classes != len(labels)
    background = 0 if has_background or classes == 2 else None
    return Boxes(boxes=boxes[0], scores=scores[0], unit=_unit(boxes[1]), background=background)


def _map(name: str, values: Array, steps: ImageInput) -> Boxes:
    """Return the decoding of FastestDet's map: objectness, box, classes on one grid."""
    stride = max(1, steps.width // values.shape[-1])
    return Boxes(
        output=name, transposed=True, objectness=True, order="objectness-box-classes", encoding="tanh-grid", strides=[stride],
        powers=(0.6, 0.4),
    )  # fmt: skip


def _unit(values: Array) -> Literal["pixels", "relative"]:
    return "relative" if float(np.abs(values).max()) <= 4.0 else "pixels"
