"""Sentence embeddings (or of images, of recordings): vectors whose cosine says how alike two samples are.

Samples come in pairs, one after the other (`Samples.group` is 2), each with the pair's score. Without scores, or without
pairs, models are judged by how alike their vectors are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from edgeopt.batches import Array, Batch
from edgeopt.errors import DataError, RecipeError
from edgeopt.tasks import decoding
from edgeopt.tasks.correlation import SPEARMAN, correlations
from edgeopt.tasks.metric import Measured, Metric
from edgeopt.tasks.regression import numbers_of
from edgeopt.tasks.task import Answer, LossSum, SampleOutputs, SoftForm, SoftLabels, Task

if TYPE_CHECKING:
    from torch import Tensor, nn

    from edgeopt.data.samples import Samples
    from edgeopt.tasks.decoding import Decoding

VECTOR = "sentence_embedding"
_KNOWN = (VECTOR, "text_embeds", "image_embeds", "pooled", "embedding", "embeddings", "last_hidden_state")
_SAME = 0.99  # cosine of two models' vectors that count as the same answer


@dataclass(frozen=True)
class SentenceEmbeddings(Task):
    """Sentence embeddings: squared error of the cosine, Spearman's correlation of cosine and score."""

    name: ClassVar[str] = "sentence-embeddings"
    metric: ClassVar[Metric] = SPEARMAN
    wanted: ClassVar[str] = "pairs of texts with a score"
    pooling: Literal["mean", "max", "first", "last"] = "mean"
    """How token vectors become one, where the model does not do it."""

    def is_labelled(self, samples: Samples) -> bool:
        """Return whether the samples are pairs with scores."""
        return samples.group == 2 and samples.annotations is not None

    def labels(self, samples: Samples, indices: Sequence[int], inputs: Batch) -> dict[str, Array]:
        """Return for each sample the number of its pair, int64 [N], and the score in 0…1, float32 [N]."""
        scores = numbers_of(samples)
        low, high = min(float(scores.min()), 0.0), float(scores.max())
        shares = (scores[list(indices)] - low) / max(high - low, 1e-12)
        return {"pairs": np.asarray(indices, np.int64) // samples.group, "labels": shares.astype(np.float32)}

    def call(self, model: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Run a model and add its vectors [N, width] as ``sentence_embedding``, of length 1."""
        import torch.nn.functional as F

        outputs = super().call(model, inputs)
        values = outputs[next((name for name in _KNOWN if name in outputs), next(iter(outputs)))]
        vectors = _pooled(values, inputs.get("attention_mask"), self.pooling) if values.ndim == 3 else values
        return {**outputs, VECTOR: F.normalize(vectors.reshape(len(vectors), -1).float(), dim=-1)}

    def predict(self, model: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the vectors, and what they are pooled from, which is what an exported file of the model gives."""
        outputs = self.call(model, inputs)
        source = next(name for name in (*_KNOWN[1:], *outputs) if name in outputs)
        return {source: outputs[source], VECTOR: outputs[VECTOR]}

    def loss(self, outputs: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> LossSum:
        """Return the squared error of the cosines of the pairs that are whole in this batch, summed over pairs."""
        vectors, pairs, scores = outputs[VECTOR], labels["pairs"], labels["labels"]
        order = pairs.argsort(stable=True)
        first, second = order[:-1], order[1:]
        whole = pairs[first] == pairs[second]
        first, second = first[whole], second[whole]
        cosines = (vectors[first] * vectors[second]).sum(dim=-1)
        return LossSum(((cosines - scores[first]) ** 2).sum(), len(first))

    def soft_labels(self) -> tuple[SoftLabels, ...]:
        """Return the vectors."""
        return (SoftLabels(VECTOR, SoftForm.VECTOR),)

    def decoding(self, names: Sequence[str] = ()) -> Decoding:
        """Return how the outputs become answers."""
        return decoding.Embedding(pooling=self.pooling)

    def decoded(self, form: Decoding) -> SentenceEmbeddings:
        """Return the task with vectors pooled in this way."""
        if not isinstance(form, decoding.Embedding):
            raise RecipeError(f"the task {self.name} takes a decoding of kind 'embedding', not '{form.kind}'")
        return SentenceEmbeddings(pooling=form.pooling)

    def answer(self, outputs: SampleOutputs, sample: Batch, about: Any = None) -> NDArray[np.float32]:
        """Return the vector, float32 [width], of length 1."""
        name = next((name for name in _KNOWN if name in outputs), next(iter(outputs)))
        values = np.asarray(outputs[name])
        if values.ndim not in {1, 2} or values.dtype.kind != "f":
            raise DataError(f"the output '{name}' has shape {list(values.shape)} for one sample; {self.name} needs a vector")
        mask = sample.get("attention_mask")
        code = decoding.inference("decoding")
        if values.ndim == 2:
            fits = mask is not None and mask.shape == values.shape[:1]
            values = code.pool(
                values[None].astype(np.float64), mask[None] if fits and mask is not None else None, self.pooling
            )[0]
        vector = values.astype(np.float64)
        return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12), np.float32)

    def measure(self, answers: Sequence[NDArray[np.float32]], samples: Samples) -> Measured:
        """Return Spearman's correlation of the pairs' cosines with their scores."""
        return correlations(_cosines(answers), numbers_of(samples)[::2])[0]

    def further(self, answers: Sequence[Answer], samples: Samples) -> tuple[Measured, ...]:
        """Return Pearson's correlation."""
        return (correlations(_cosines(answers), numbers_of(samples)[::2])[1],)

    def same(self, ours: Answer, theirs: Answer) -> bool:
        """Return whether two vectors point the same way, to a cosine of 0.99."""
        return ours.shape == theirs.shape and float(ours @ theirs) >= _SAME

    def agreement(self, ours: Sequence[Answer], theirs: Sequence[Answer]) -> float | None:
        """Return the mean cosine of both models' vectors; of vectors of other widths, the correlation of their similarities."""
        if ours[0].shape == theirs[0].shape:
            return float(np.mean([one @ other for one, other in zip(ours, theirs, strict=True)]))
        first, second = (np.stack(vectors[:1000]) for vectors in (ours, theirs))
        above = np.triu_indices(len(first), 1)
        return correlations((first @ first.T)[above], (second @ second.T)[above])[0].value


def _cosines(answers: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
    vectors = np.stack(answers).astype(np.float64)
    return np.asarray((vectors[::2] * vectors[1::2]).sum(axis=1))


def _pooled(values: Tensor, mask: Tensor | None, pooling: str) -> Tensor:
    import torch

    if pooling == "first":
        return values[:, 0]
    weights = torch.ones(values.shape[:2], device=values.device) if mask is None else mask.to(values.device)
    if pooling == "max":
        return values.masked_fill(weights[..., None] == 0, float("-inf")).amax(dim=1)
    if pooling == "last":
        last = (weights > 0).long().mul(torch.arange(values.shape[1], device=values.device)).amax(dim=1)
        return values[torch.arange(len(values), device=values.device), last]
    return (values * weights[..., None]).sum(dim=1) / weights.sum(dim=1, keepdim=True).clamp(min=1e-9)
