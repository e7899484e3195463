"""Decoding as data: how a model's outputs become answers, in words that a bundle carries to any language.

    decoding = Argmax(top_k=3)
    answers = decode(decoding, {"logits": logits}, Context(labels=("cat", "dog")))   # one for each sample

The one implementation in numpy is ``deploy/runner/inference/decoding.py``; its docstring shows the answers. The engine's tasks,
verify.py on the device and the Python templates run that file; the JavaScript and C++ templates follow it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from edgeopt.batches import Array
from edgeopt.config import Options
from edgeopt.device_code import inference
from edgeopt.errors import RecipeError, nearest

__all__ = [
    "AnswerSpan",
    "Argmax",
    "Arrays",
    "Boxes",
    "Ctc",
    "Decoding",
    "Embedding",
    "MultiLabel",
    "Segmentation",
    "Spans",
    "Text",
    "Value",
    "decode",
    "inference",
    "read_decoding",
]
Activation = Literal["softmax", "sigmoid", "none"]


class Argmax(Options):
    """Single-label classification: the best classes with their scores."""

    kind: Literal["argmax"] = "argmax"
    """Kind of decoding."""
    output: str | None = None
    """Output with one value per class; none: the first."""
    activation: Activation = "softmax"
    """What makes scores of the values; none: they are scores."""
    top_k: int = Field(default=5, ge=1)
    """Number of classes in an answer."""


class MultiLabel(Options):
    """Multi-label classification: every class whose score reaches the threshold."""

    kind: Literal["multi-label"] = "multi-label"
    """Kind of decoding."""
    output: str | None = None
    """Output with one value per class; none: the first."""
    activation: Literal["sigmoid", "none"] = "sigmoid"
    """What makes scores of the values; none: they are scores."""
    threshold: float = Field(default=0.5, ge=0)
    """Least score of a class that is in the answer."""


class Spans(Options):
    """Token classification: spans of the text from BIO tags (or plain tags, whose neighbours of one kind are joined)."""

    kind: Literal["spans"] = "spans"
    """Kind of decoding."""
    output: str | None = None
    """Output with one value per token and class; none: the first."""
    activation: Activation = "softmax"
    """What makes scores of the values."""
    outside: str = "O"
    """Tag of tokens that belong to no span."""
    words: bool = True
    """A word (between white space) has the tag of its first token; otherwise every token has its own."""


class AnswerSpan(Options):
    """Extractive question answering: the best span of the second text."""

    kind: Literal["answer-span"] = "answer-span"
    """Kind of decoding."""
    start: str = "start_logits"
    """Output with one value per token: does the answer start here?"""
    end: str = "end_logits"
    """Output with one value per token: does the answer end here?"""
    max_tokens: int = Field(default=30, ge=1)
    """Longest answer, in tokens."""
    may_be_empty: bool = False
    """The first token is the answer that there is none, as in SQuAD 2."""


class Boxes(Options):
    """Object detection: boxes in the pixels of the image, from one output of rows or from boxes and scores."""

    kind: Literal["boxes"] = "boxes"
    """Kind of decoding."""
    output: str | None = None
    """Output whose rows hold a box and its scores; none: the first (unless `boxes` and `scores` are named)."""
    boxes: str | None = None
    """Output of boxes, beside one of scores."""
    scores: str | None = None
    """Output of scores."""
    transposed: bool = False
    """The outputs have the numbers of a row on their second axis: [batch, numbers, rows] or [batch, numbers, h, w]."""
    objectness: bool = False
    """A row has a score that there is an object at all, which multiplies those of the classes."""
    order: Literal["box-objectness-classes", "objectness-box-classes"] = "box-objectness-classes"
    """Order of a row."""
    encoding: Literal["xyxy", "xywh", "cxcywh", "grid", "tanh-grid", "anchors", "distances"] = "xyxy"
    """How the four numbers are a box; see ``deploy/runner/inference/boxes.py``."""
    unit: Literal["pixels", "relative"] = "pixels"
    """Pixels of the model's input, or its width and height (of xyxy, xywh, cxcywh and anchors)."""
    strides: list[int] = Field(default_factory=list)
    """Pixels per cell of each grid, in the order of the rows."""
    anchors: list[list[float]] = Field(default_factory=list)
    """Centre and size of each row's anchor, in `unit`."""
    variances: tuple[float, float] = (0.1, 0.2)
    """Factors of the anchors' offsets and sizes."""
    activation: Activation = "none"
    """What makes scores of the classes' values."""
    objectness_activation: Literal["sigmoid", "none"] = "none"
    """What makes a score of the objectness."""
    powers: tuple[float, float] = (1.0, 1.0)
    """Exponents of objectness and class score in their product."""
    background: int | None = Field(default=None)
    """Class that is no object; negative: from the end; none: there is none."""
    one_class_per_box: bool = True
    """A row has its best class alone; otherwise every class above the threshold."""
    score_threshold: float = Field(default=0.3, ge=0)
    """Least score of a box."""
    iou_threshold: float | None = Field(default=0.45, gt=0, le=1)
    """Boxes that overlap a better one by more are dropped; none: no suppression, as for DETR."""
    per_class: bool = True
    """Only boxes of the same class suppress each other."""
    max_detections: int = Field(default=100, ge=1)
    """Number of boxes in an answer, at most."""

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if (self.boxes is None) != (self.scores is None):
            raise ValueError("boxes and scores are named together, or neither")
        if self.encoding in {"grid", "tanh-grid", "distances"} and not self.strides:
            raise ValueError(f"encoding {self.encoding} needs strides")
        if self.encoding == "anchors" and (not self.anchors or any(len(anchor) != 4 for anchor in self.anchors)):
            raise ValueError("encoding anchors needs anchors of four numbers each")
        if any(stride < 1 for stride in self.strides):
            raise ValueError("a stride is at least 1")
        return self


class Segmentation(Options):
    """Semantic segmentation: the class of every pixel of the image, as runs."""

    kind: Literal["segmentation"] = "segmentation"
    """Kind of decoding."""
    output: str | None = None
    """Output [batch, classes, h, w], or classes [batch, h, w]; none: the first."""
    bilinear: bool = True
    """Interpolate the values of the classes before the best is taken; otherwise the nearest cell."""


class Ctc(Options):
    """Speech or handwriting by connectionist temporal classification, greedily: repeats are merged, blanks dropped."""

    kind: Literal["ctc"] = "ctc"
    """Kind of decoding."""
    output: str | None = None
    """Output [batch, time, tokens]; none: the first."""
    tokens: list[str] = Field(default_factory=list)
    """Text of each token; empty: the labels."""
    blank: int = Field(default=0, ge=0)
    """Index of the blank."""
    word_delimiter: str = "|"
    """Token between words."""


class Text(Options):
    """Token ids become text by the bundle's tokenizer."""

    kind: Literal["text"] = "text"
    """Kind of decoding."""
    output: str | None = None
    """Output of token ids, or of one value per token; none: the first."""


class Embedding(Options):
    """Sentence, image or audio embeddings: one vector."""

    kind: Literal["embedding"] = "embedding"
    """Kind of decoding."""
    output: str | None = None
    """Output [batch, width] or [batch, length, width]; none: the first."""
    pooling: Literal["mean", "max", "first", "last"] = "mean"
    """What makes one vector of the tokens'; padding does not count."""
    normalise: bool = True
    """Divide by the length of the vector."""


class Value(Options):
    """Regression: numbers, times a factor, plus an offset."""

    kind: Literal["value"] = "value"
    """Kind of decoding."""
    outputs: list[str] = Field(default_factory=list)
    """Outputs of the answer; empty: all."""
    factor: float = 1.0
    """Multiplies the values."""
    offset: float = 0.0
    """Added to the values."""


class Arrays(Options):
    """No decoding: the outputs are the answer."""

    kind: Literal["arrays"] = "arrays"
    """Kind of decoding."""


Decoding = Annotated[
    Argmax | MultiLabel | Spans | AnswerSpan | Boxes | Segmentation | Ctc | Text | Embedding | Value | Arrays,
    Field(discriminator="kind"),
]
_KINDS: dict[str, type[Options]] = {
    "argmax": Argmax,
    "multi-label": MultiLabel,
    "spans": Spans,
    "answer-span": AnswerSpan,
    "boxes": Boxes,
    "segmentation": Segmentation,
    "ctc": Ctc,
    "text": Text,
    "embedding": Embedding,
    "value": Value,
    "arrays": Arrays,
}
_ANY: TypeAdapter[Decoding] = TypeAdapter(Decoding)


def read_decoding(values: Mapping[str, Any], *, where: str) -> Decoding:
    """Return the decoding that ``values["kind"]`` and the other keys describe, as read from TOML or JSON.

    Raises:
        RecipeError: the kind, a key or a value is not allowed; the message says what is.
    """
    kind = values.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        hint = nearest(str(kind), _KINDS)
        raise RecipeError(f"{where}: decoding kind is {kind!r}{hint}; allowed: {', '.join(sorted(_KINDS))}")
    tuples = {key: tuple(values[key]) for key in ("variances", "powers") if isinstance(values.get(key), list)}
    read = _KINDS[kind].read({**values, **tuples}, where=where)
    try:
        return _ANY.validate_python(read)
    except ValidationError as error:
        raise RecipeError(f"{where}: {error}") from error


def decode(decoding: Decoding, outputs: Mapping[str, Array], context: Any = None) -> list[dict[str, Any]]:
    """Return one answer for each sample of a batch; see `inference`.decoding.

    Args:
        decoding: how outputs become answers.
        outputs: by name, in the model's order, with a batch axis.
        context: an `inference("decoding").Context`: labels, placements of images, tokens, mask; None: an empty one.
    """
    code = inference("decoding")
    answers: list[dict[str, Any]] = code.decode(decoding.model_dump(mode="json"), outputs, context or code.Context())
    return answers
