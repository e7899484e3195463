"""Token classification: a tag for each word of a text, such as the BIO tags of named entities.

The metric is the F1 of whole entities, as of the CoNLL-2003 task's script and of the package seqeval: an entity counts where
kind, first and last word are right. A word has the tag of its first token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from edgeopt.batches import Array, Batch, concatenate
from edgeopt.data.annotations import IGNORED
from edgeopt.errors import DataError
from edgeopt.tasks import decoding
from edgeopt.tasks.metric import Measured, Metric, of_sums
from edgeopt.tasks.multi_label import f1_of_counts
from edgeopt.tasks.task import LossSum, SampleOutputs, SoftLabels, Task, output_named, share_of_same

if TYPE_CHECKING:
    from torch import Tensor

    from edgeopt.data.samples import Samples

Entity = tuple[str, int, int]
"""Kind, first word and last word."""


@dataclass(frozen=True)
class TokenClassification(Task):
    """Token classification: cross-entropy over labelled tokens, F1 of entities."""

    name: ClassVar[str] = "token-classification"
    metric: ClassVar[Metric] = Metric("F1")
    wanted: ClassVar[str] = "a tag per word"

    def labels(self, samples: Samples, indices: Sequence[int], inputs: Batch) -> dict[str, Array]:
        """Return the tags as int64 [N, sequence]; -100 at tokens without one and at padding."""
        rows = [_tags(samples, index) for index in indices]
        longest = max((array.shape[1] for array in inputs.values() if array.ndim == 2), default=0)
        padded = concatenate([*rows, np.zeros(longest, np.int64)], pad=IGNORED)
        return {"labels": padded[:-1]}

    def loss(self, outputs: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> LossSum:
        """Return the cross-entropy of the logits [N, sequence, tags], summed over labelled tokens."""
        import torch.nn.functional as F

        wanted = labels["labels"].reshape(-1)
        logits = outputs["logits"].reshape(len(wanted), -1)
        return LossSum(F.cross_entropy(logits, wanted, reduction="sum", ignore_index=IGNORED), (wanted != IGNORED).sum())

    def soft_labels(self) -> tuple[SoftLabels, ...]:
        """Return the logits of tokens that are not padding."""
        return (SoftLabels(mask="attention_mask"),)

    def decoding(self, names: Sequence[str] = ()) -> decoding.Decoding:
        """Return how the outputs become answers."""
        return decoding.Spans()

    def answer(self, outputs: SampleOutputs, sample: Batch, about: Any = None) -> Array:
        """Return the best tag of each token, int64 [sequence]."""
        logits = output_named(outputs, "logits")
        if logits.ndim != 2:
            raise DataError(f"the model's output has shape {list(logits.shape)} for one text; {self.name} needs [tokens, tags]")
        return np.asarray(logits.argmax(axis=-1))

    def measure(self, answers: Sequence[Array], samples: Samples) -> Measured:
        """Return the F1 of entities where the tags are BIO, else of words that are not outside (tag 0 or O)."""
        counts = np.array([self._counts(answers[index], samples, index) for index in range(len(samples))], np.float64)
        return of_sums(self.metric, counts.reshape(-1, 3), f1_of_counts)

    def further(self, answers: Sequence[Array], samples: Samples) -> tuple[Measured, ...]:
        """Return the share of words with the right tag."""
        rows = [_tags(samples, index) for index in range(len(samples))]
        counts = [
            ((own[: len(row)] == row)[row != IGNORED].sum(), (row != IGNORED).sum())
            for own, row in zip(answers, rows, strict=True)
        ]
        return (of_sums(Metric("word accuracy"), np.array(counts, np.float64), lambda sums: float(sums[0] / max(sums[1], 1))),)

    def _counts(self, answer: Array, samples: Samples, index: int) -> tuple[int, int, int]:
        """Return true positives, found and wanted entities of one text."""
        wanted = _tags(samples, index)
        if len(answer) != len(wanted):
            raise DataError(f"sample {index}: {len(answer)} tokens are tagged, {len(wanted)} have labels; tokenize both alike")
        words = wanted != IGNORED
        names = samples.names
        highest = int(max(answer.max(initial=0), wanted.max(initial=0)))
        if names and highest >= len(names):
            raise DataError(f"sample {index}: tag {highest} is none of the {len(names)} tags ({', '.join(names[:8])}, …)")
        found, truth = (entities([_name(names, int(tag)) for tag in row[words]]) for row in (answer, wanted))
        return len(found & truth), len(found), len(truth)

    def agreement(self, ours: Sequence[Array], theirs: Sequence[Array]) -> float | None:
        """Return the share of tokens with the same tag; None: the models read other tokens."""
        return share_of_same(ours, theirs)


def entities(tags: Sequence[str]) -> set[Entity]:
    """Return the entities of a row of tags: B- starts one, and so does I- behind another kind or behind O."""
    found: set[Entity] = set()
    kind, start = "", 0
    for place, tag in enumerate([*tags, "O"]):
        prefix, _, own = tag.partition("-") if tag[:2] in {"B-", "I-", "E-", "S-", "L-", "U-"} else ("I", "", tag)
        own = "" if tag in {"O", "0", ""} else own
        starts = bool(own) and (prefix in {"B", "S", "U"} or own != kind)
        if kind and (starts or own != kind):
            found.add((kind, start, place - 1))
            kind = ""
        if starts:
            kind, start = own, place
    return found


def _name(names: Sequence[str], tag: int) -> str:
    return names[tag] if tag < len(names) else str(tag)


def _tags(samples: Samples, index: int) -> Array:
    row = None if samples.annotations is None else np.asarray(samples.annotations[index])
    if row is None or row.ndim != 1 or row.dtype.kind != "i":
        raise DataError(f"sample {index}: its label is not a row of tags, one per token")
    return row.astype(np.int64)
