"""Options of distillation."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from edgeopt.config import Options
from edgeopt.train.config import DistillLoss, TrainOptions


class DistillOptions(Options):
    """Which student is trained, and how."""

    source: str | None = None
    """The student as module:callable, or a folder of one, such as a pruned model; give this, `layers`, `layer_count` or
    `width`."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the callable of `source`."""
    layers: list[int] | None = None
    """Layers of the transformers teacher (from 0) that the student keeps, in order."""
    layer_count: int | None = Field(default=None, ge=1)
    """How many of the teacher's layers the student keeps; `layer_choice` says which."""
    layer_choice: Literal["spread", "first", "last", "first-last", "similarity"] = "spread"
    """spread: every k-th, the last one included; first, last: the first or last ones; first-last: half of each; similarity:
    without those that change their input least."""
    width: int | None = Field(default=None, ge=1)
    """Width of the student's hidden states: the teacher's weights in the principal components of its hidden states, with as
    many heads and feed-forward neurons fewer, those that matter least left out."""
    unlabelled: list[str] = Field(default_factory=list)
    """Further samples whose labels, if they have any, are not read: sources as in [data]; the teacher says what they are."""
    teacher_onnx: str | None = None
    """An ONNX file of the teacher: onnxruntime gives the soft labels in place of PyTorch (outputs alone)."""
    control: bool = False
    """Also train the same student on the hard labels alone, as the control that distillation is compared with."""
    seeds: int = Field(default=1, ge=1)
    """Train this many students (and controls), with seeds from the run's on, and report the spread; the first one is kept."""
    loss: DistillLoss = DistillLoss()
    """Parts of the loss and their weights. A student made of its teacher (layers, layer_count, width) has temperature 2,
    soft_weight 0.9, hidden_weight 1 and 6 epochs where nothing is said."""
    train: TrainOptions = TrainOptions()

    @model_validator(mode="after")
    def _one_student(self) -> Self:
        chosen = self.layers is not None or self.layer_count is not None or self.width is not None
        if (self.source is None) == (not chosen):
            raise ValueError(
                "give either source (module:callable, a folder) or layers (numbers of the teacher's layers), or width"
            )
        if self.layers is not None and self.layer_count is not None:
            raise ValueError("give either layers or layer_count")
        return self
