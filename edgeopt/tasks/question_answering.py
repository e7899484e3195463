"""Extractive question answering: the answer to a question is a span of a text.

The metric is the F1 of words of Rajpurkar et al. (2016), "SQuAD", https://arxiv.org/abs/1606.05250, section 6.1: case,
punctuation and articles do not count, and the best of several right answers does.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from edgeopt.batches import Array, Batch
from edgeopt.data.annotations import SpanTruth
from edgeopt.errors import DataError
from edgeopt.tasks import decoding
from edgeopt.tasks.metric import Measured, Metric, of_sums, share_of_right
from edgeopt.tasks.task import LossSum, SampleOutputs, SoftLabels, Task

if TYPE_CHECKING:
    from torch import Tensor

    from edgeopt.data.samples import Samples


@dataclass(frozen=True)
class QuestionAnswering(Task):
    """Extractive question answering: cross-entropy of both ends, F1 of words."""

    name: ClassVar[str] = "question-answering"
    metric: ClassVar[Metric] = Metric("F1")
    wanted: ClassVar[str] = "an answer and where it starts"
    may_be_empty: bool = False
    """A question may have no answer, as in SQuAD 2."""

    def labels(self, samples: Samples, indices: Sequence[int], inputs: Batch) -> dict[str, Array]:
        """Return the first and the last token of each answer, int64 [N] each."""
        spans = [_truth(samples, index) for index in indices]
        return {
            "start_positions": np.array([span.start for span in spans], np.int64),
            "end_positions": np.array([span.end for span in spans], np.int64),
        }

    def loss(self, outputs: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> LossSum:
        """Return half the cross-entropy of the start and of the end, summed over samples."""
        import torch.nn.functional as F

        start = F.cross_entropy(outputs["start_logits"], labels["start_positions"], reduction="sum")
        end = F.cross_entropy(outputs["end_logits"], labels["end_positions"], reduction="sum")
        return LossSum((start + end) / 2, len(labels["start_positions"]))

    def soft_labels(self) -> tuple[SoftLabels, ...]:
        """Return the logits of both ends; the classes are the positions."""
        return (SoftLabels("start_logits"), SoftLabels("end_logits"))

    def decoding(self, names: Sequence[str] = ()) -> decoding.Decoding:
        """Return how the outputs become answers."""
        return decoding.AnswerSpan(may_be_empty=self.may_be_empty)

    def answer(self, outputs: SampleOutputs, sample: Batch, about: Any = None) -> str:
        """Return the best span's text; `about` are the text's tokens (`deploy/runner/inference/decoding.py`)."""
        if about is None:
            raise DataError(f"{self.name}: the tokens' places in the text are not known; read the samples from texts")
        if not {"start_logits", "end_logits"} <= set(outputs):
            raise DataError(f"{self.name} needs the outputs start_logits and end_logits; the model has {', '.join(outputs)}")
        batch = {name: np.asarray(values)[None] for name, values in outputs.items()}
        context = decoding.inference("decoding").Context(tokens=[about])
        return str(decoding.decode(self.decoding(), batch, context)[0]["text"])

    def measure(self, answers: Sequence[str], samples: Samples) -> Measured:
        """Return the mean F1 of words."""
        scores = [
            max((word_f1(answer, text) for text in _truth(samples, index).texts), default=float(not answer))
            for index, answer in enumerate(answers)
        ]
        return of_sums(self.metric, np.stack([scores, np.ones(len(scores))], axis=1), lambda sums: float(sums[0] / sums[1]))

    def further(self, answers: Sequence[str], samples: Samples) -> tuple[Measured, ...]:
        """Return the share of answers that match exactly."""
        exact = [
            any(_plain(answer) == _plain(text) for text in _truth(samples, index).texts or ("",))
            for index, answer in enumerate(answers)
        ]
        return (share_of_right(Metric("exact match"), np.array(exact, bool)),)


def word_f1(answer: str, truth: str) -> float:
    """Return the F1 of the words of two answers."""
    found, wanted = _plain(answer), _plain(truth)
    if not found or not wanted:
        return float(found == wanted)
    common = sum((Counter(found) & Counter(wanted)).values())
    return 2 * common / (len(found) + len(wanted))


def _plain(text: str) -> list[str]:
    lowered = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", lowered).split()


def _truth(samples: Samples, index: int) -> SpanTruth:
    truth = None if samples.annotations is None else samples.annotations[index]
    if not isinstance(truth, SpanTruth):
        raise DataError(f"sample {index}: its label is not an answer in a text")
    return truth
