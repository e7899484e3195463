"""Causal language models: the next token of a text.

The metric is the perplexity exp(Σ −log p(token) / tokens) over windows of a text; the distance of two models is the mean KL of
their next-token distributions, KL(reference ‖ model).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgeopt.batches import Array, Batch
from edgeopt.data.annotations import IGNORED
from edgeopt.errors import DataError
from edgeopt.tasks.metric import Measured, Metric, Scale, of_sums
from edgeopt.tasks.task import LossSum, SampleOutputs, SoftLabels, Task, output_named, share_of_same

if TYPE_CHECKING:
    from torch import Tensor

    from edgeopt.data.samples import Samples

PERPLEXITY = Metric("perplexity", Scale.RATIO, larger_is_better=False)


@dataclass(frozen=True)
class NextTokens:
    """The best next token of each place of a window, and the tokens' summed −log p."""

    best: NDArray[np.int64]
    negative_log: float
    tokens: int


@dataclass(frozen=True)
class LanguageModel(Task):
    """Causal language model: cross-entropy per token, perplexity."""

    name: ClassVar[str] = "text-generation"
    metric: ClassVar[Metric] = PERPLEXITY
    wanted: ClassVar[str] = "texts"
    lead: int = 0
    """Number of virtual tokens at the beginning of each text: neither they nor the token behind them are predicted."""

    def fitted(self, outputs: SampleOutputs, samples: Samples) -> LanguageModel:
        """Return the task for samples that begin with virtual tokens."""
        return replace(self, lead=samples.lead)

    def is_labelled(self, samples: Samples) -> bool:
        """Return whether the samples are token ids: the next tokens are their own labels."""
        return bool(len(samples)) and "input_ids" in samples[0]

    def labels(self, samples: Samples, indices: Sequence[int], inputs: Batch) -> dict[str, Array]:
        """Return the next tokens, int64 [N, sequence]; -100 at the last place, at virtual tokens and at padding."""
        ids = np.asarray(inputs["input_ids"], np.int64)
        mask = np.asarray(inputs.get("attention_mask", np.ones_like(ids)))
        following = np.full_like(ids, IGNORED)
        following[:, :-1] = np.where(mask[:, 1 : ids.shape[1]] > 0, ids[:, 1:], IGNORED)
        following[:, : samples.lead] = IGNORED
        return {"labels": following}

    def loss(self, outputs: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> LossSum:
        """Return the cross-entropy of the logits [N, sequence, vocabulary], summed over next tokens."""
        import torch.nn.functional as F

        wanted = labels["labels"].reshape(-1)
        logits = outputs["logits"].reshape(len(wanted), -1)
        return LossSum(F.cross_entropy(logits, wanted, reduction="sum", ignore_index=IGNORED), (wanted != IGNORED).sum())

    def soft_labels(self) -> tuple[SoftLabels, ...]:
        """Return the logits of tokens that are not padding."""
        return (SoftLabels(mask="attention_mask"),)

    def answer(self, outputs: SampleOutputs, sample: Batch, about: Any = None) -> NextTokens:
        """Return the best next tokens, and how likely the model finds those of the text."""
        logits = output_named(outputs, "logits")
        ids = np.asarray(sample.get("input_ids", np.zeros(0)), np.int64).reshape(-1)
        if logits.ndim != 2 or len(logits) != len(ids):
            raise DataError(
                f"the output has shape {list(logits.shape)} for {len(ids)} tokens; {self.name} needs [tokens, vocabulary]"
            )
        logits, following = logits[self.lead : -1], ids[self.lead + 1 :]
        before = _log_softmax(logits)
        return NextTokens(
            np.asarray(logits.argmax(axis=-1)),
            float(-before[np.arange(len(following)), following].sum()),
            len(following),
        )

    def measure(self, answers: Sequence[NextTokens], samples: Samples) -> Measured:
        """Return the perplexity over all windows."""
        rows = np.array([[answer.negative_log, answer.tokens] for answer in answers], np.float64)
        return of_sums(self.metric, rows, lambda sums: float(np.exp(sums[0] / max(sums[1], 1.0))))

    def distances(self, outputs: SampleOutputs, reference: SampleOutputs) -> dict[str, tuple[float, float]]:
        """Return the KL of the next-token distributions, summed over places."""
        ours, theirs = output_named(outputs, "logits"), output_named(reference, "logits")
        if ours.shape != theirs.shape:
            return {}
        log_q, log_p = _log_softmax(ours[self.lead :]), _log_softmax(theirs[self.lead :])
        return {"KL": (float((np.exp(log_p) * (log_p - log_q)).sum()), float(len(log_p)))}

    def same(self, ours: NextTokens, theirs: NextTokens) -> bool:
        """Return whether all best next tokens of a window are the same."""
        return bool(np.array_equal(ours.best, theirs.best))

    def agreement(self, ours: Sequence[NextTokens], theirs: Sequence[NextTokens]) -> float | None:
        """Return the share of places with the same best next token; None: the models read other tokens."""
        return share_of_same([one.best for one in ours], [other.best for other in theirs])


def _log_softmax(logits: Array) -> Array:
    shifted = logits.astype(np.float32) - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))
