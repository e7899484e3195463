"""What a model is for: one class per task says all that training, evaluation and reports need to know about it.

    samples ─▶ model ─▶ outputs ─┬─ answer ─▶ answers ─ measure ─▶ value, interval, paired difference
       │                         └─ loss ──▶ a sum and a count (hard labels), and which outputs are soft labels
       └─ labels (of a batch) ───┘

Add a task with one module that has a subclass of `Task`, its test, and one line in `edgeopt.tasks.registry`. A user's own
subclass is named as ``module:callable``. Nothing here imports torch until a model is called or a loss is computed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from edgeopt.batches import Array, Batch
from edgeopt.errors import DataError, RecipeError
from edgeopt.tasks.metric import Measured, Metric

if TYPE_CHECKING:
    from torch import Tensor, nn

    from edgeopt.data.samples import Samples
    from edgeopt.tasks.decoding import Boxes, Decoding

Answer = Any
"""What a model says of one sample: a class, tags, boxes, a text, a vector; each task has its own type."""
SampleOutputs = Mapping[str, Array]
"""A model's outputs for one sample, by name, without a batch axis."""


class SoftForm(StrEnum):
    """How an output of a teacher becomes a soft label."""

    SOFTMAX = "softmax"
    """Logits of classes that exclude each other, on the last axis: KL of the softmax, with a temperature."""
    SIGMOID = "sigmoid"
    """Independent logits: binary cross-entropy with the teacher's probabilities."""
    VALUE = "value"
    """Numbers: squared error, at positions each channel by its spread."""
    BOXES = "boxes"
    """A detector's boxes and scores: scores by binary cross-entropy, boxes where the teacher sees objects."""
    VECTOR = "vector"
    """Embeddings: squared error and pairwise similarities."""


@dataclass(frozen=True)
class SoftLabels:
    """One output of a teacher that a student learns from.

    Attributes:
        output: its name in what `Task.call` returns.
        form: what its values are.
        mask: the model input that is 0 at positions (axis 1 of the output) that do not count; None: all count.
        transposed: the classes are axis 1, as in maps [N, classes, height, width], instead of the last one.
        boxes: of the form boxes: how the outputs hold boxes and scores.
    """

    output: str = "logits"
    form: SoftForm = SoftForm.SOFTMAX
    mask: str | None = None
    transposed: bool = False
    boxes: Boxes | None = None

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of all outputs that are needed."""
        if self.boxes is not None and self.boxes.boxes is not None and self.boxes.scores is not None:
            return self.boxes.boxes, self.boxes.scores
        return (self.output,)


@dataclass(frozen=True)
class LossSum:
    """A loss that was summed, and the number it is to be divided by.

    Sums and counts of all micro-batches and processes are added before they are divided, so that the loss does not depend on
    how a batch was split.
    """

    total: Tensor
    count: Tensor | float

    def mean(self) -> Tensor:
        """Return the loss per counted item; 0 where none counts."""
        return self.total / max(float(self.count), 1.0)


class Task(ABC):
    """What a model is for. Frozen and cheap: a subclass is a dataclass whose fields are its options."""

    name: ClassVar[str]
    """The task's name, as recipes and ``--task`` have it."""
    metric: ClassVar[Metric]
    """The metric that budgets, verdicts and ``--max-drop`` are about."""
    wanted: ClassVar[str] = "labels"
    """What labels look like, in one phrase for messages."""

    # labels ---------------------------------------------------------------------------------------------------------------

    def is_labelled(self, samples: Samples) -> bool:
        """Return whether the samples have the labels that this task is measured and trained with."""
        return samples.annotations is not None

    def need_labels(self, samples: Samples, *, where: str) -> None:
        """Make sure that the samples have labels.

        Raises:
            DataError: they have none, or ones of another task; `where` begins the message.
        """
        if not len(samples):
            raise DataError(f"{where} has no samples")
        if not self.is_labelled(samples):
            raise DataError(f"{where} has no labels, and {self.name} needs {self.wanted}")

    @abstractmethod
    def labels(self, samples: Samples, indices: Sequence[int], inputs: Batch) -> dict[str, Array]:
        """Return the labels of a batch as arrays, padded as its `inputs` are: what `loss` takes, as tensors.

        Raises:
            DataError: a label cannot be one of this task.
        """

    # training -------------------------------------------------------------------------------------------------------------

    def with_answers(self, samples: Samples, model: nn.Module) -> Samples:
        """Return samples with what a model is given of their labels to learn from: the text so far where it writes one."""
        return samples

    def call(self, model: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Run a PyTorch model and return its outputs by name, as `loss` and the soft labels know them."""
        from edgeopt.models.call import named_outputs

        return named_outputs(model, inputs)

    def predict(self, model: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Run a PyTorch model to be judged: as `call` does, or by generating where training feeds the answer in."""
        return self.call(model, inputs)

    @abstractmethod
    def loss(self, outputs: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> LossSum:
        """Return the loss on hard labels, summed over what counts."""

    def soft_labels(self) -> tuple[SoftLabels, ...]:
        """Return the outputs that a student learns from a teacher; empty: none is known."""
        return ()

    def decoding(self, names: Sequence[str] = ()) -> Decoding:
        """Return how outputs become answers on a device, as data for a bundle; `names` are those of the classes."""
        from edgeopt.tasks.decoding import Arrays

        return Arrays()

    def decoded(self, decoding: Decoding) -> Task:
        """Return the task for models whose outputs become answers in this way.

        Raises:
            RecipeError: the task has a decoding of its own alone.
        """
        raise RecipeError(f"the task {self.name} takes no decoding of kind '{decoding.kind}'; leave it out")

    # judging --------------------------------------------------------------------------------------------------------------

    def fitted(self, outputs: SampleOutputs, samples: Samples) -> Task:
        """Return the task for a model that gives `outputs` for the first sample: models may write their answers differently."""
        return self

    def distances(self, outputs: SampleOutputs, reference: SampleOutputs) -> dict[str, tuple[float, float]]:
        """Return distances of one sample's outputs from another model's that are usual for the task, each as sum and count."""
        return {}

    @abstractmethod
    def answer(self, outputs: SampleOutputs, sample: Batch, about: Any = None) -> Answer:
        """Return the model's answer for one sample.

        Args:
            outputs: of a PyTorch or an ONNX model.
            sample: its inputs.
            about: what is known about it beside its inputs (`Samples.contexts`).

        Raises:
            DataError: these are not outputs of this task.
        """

    @abstractmethod
    def measure(self, answers: Sequence[Answer], samples: Samples) -> Measured:
        """Return the metric of answers, in the order of the labelled samples.

        Raises:
            DataError: labels and answers do not fit.
        """

    def further(self, answers: Sequence[Answer], samples: Samples) -> tuple[Measured, ...]:
        """Return other metrics that are usual for this task, such as Pearson's beside Spearman's; empty: none."""
        return ()

    def warnings(self, answers: Sequence[Answer], samples: Samples) -> tuple[str, ...]:
        """Return what makes the metric doubtful, such as classes without samples."""
        return ()

    def same(self, ours: Answer, theirs: Answer) -> bool:
        """Return whether two answers to one sample are the same."""
        return bool(np.array_equal(ours, theirs))

    def agreement(self, ours: Sequence[Answer], theirs: Sequence[Answer]) -> float | None:
        """Return how far two models agree, 0 to 1: here the share of samples with the same answer; None: not defined."""
        return float(np.mean([self.same(one, other) for one, other in zip(ours, theirs, strict=True)]))

    def changed(self, ours: Sequence[Answer], theirs: Sequence[Answer]) -> int:
        """Return the number of samples whose answers differ."""
        return sum(not self.same(one, other) for one, other in zip(ours, theirs, strict=True))


def output_named(outputs: SampleOutputs, name: str) -> Array:
    """Return the output called `name`, or the first one where a file calls it otherwise."""
    return outputs[name] if name in outputs else next(iter(outputs.values()))


def share_of_same(ours: Sequence[Array], theirs: Sequence[Array]) -> float | None:
    """Return the share of places, over all samples, with the same value; None: the answers have other lengths, or none."""
    if any(np.shape(one) != np.shape(other) for one, other in zip(ours, theirs, strict=True)):
        return None
    same = np.concatenate([np.atleast_1d(one == other) for one, other in zip(ours, theirs, strict=True)])
    return float(same.mean()) if same.size else None


def about_sample(samples: Samples, index: int) -> Any:
    """Return what is known about a sample beside its inputs; None: nothing."""
    return None if samples.contexts is None else samples.contexts[index]
