"""Connectionist temporal classification: a row of letters without places, such as the transcript of a recording.

The loss is of Graves et al. (2006), "Connectionist Temporal Classification", https://doi.org/10.1145/1143844.1143891; answers
are read greedily: the best token of each step, repeats merged, blanks dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from edgeopt.batches import Array, Batch, concatenate
from edgeopt.errors import DataError
from edgeopt.tasks import decoding
from edgeopt.tasks.metric import Measured, Metric
from edgeopt.tasks.task import LossSum, SampleOutputs, SoftLabels, Task, output_named
from edgeopt.tasks.texts import WER, error_rates, texts_of

if TYPE_CHECKING:
    from torch import Tensor

    from edgeopt.data.samples import Samples


_BLANKS = {"<pad>", "[pad]", "<blank>", "<blk>"}


@dataclass(frozen=True)
class SpeechRecognition(Task):
    """CTC: its own loss, word error rate."""

    name: ClassVar[str] = "ctc"
    metric: ClassVar[Metric] = WER
    wanted: ClassVar[str] = "a text per sample"
    tokens: tuple[str, ...] = ()
    """Text of each token; empty: the samples' `names`."""
    blank: int = 0
    """Token that stands for nothing, where none of the tokens has a usual name for it."""
    word_delimiter: str = "|"
    """Token between words."""

    def labels(self, samples: Samples, indices: Sequence[int], inputs: Batch) -> dict[str, Array]:
        """Return the tokens of the texts, int64 [N, longest], -1 behind their ends.

        Raises:
            DataError: a letter of a text is none of the tokens.
        """
        texts, tokens = texts_of(samples), self._tokens(samples)
        rows = [self._numbers(texts[index], tokens, index) for index in indices]
        return {"labels": concatenate(rows, pad=-1), "blank": np.array(self._blank(list(tokens)))}

    def _blank(self, tokens: Sequence[str]) -> int:
        """Return the number of the token that stands for nothing: padding's, as transformers has it."""
        return next((number for number, token in enumerate(tokens) if token.lower() in _BLANKS), self.blank)

    def _numbers(self, text: str, tokens: Mapping[str, int], index: int) -> Array:
        spaced = text if " " in tokens else text.replace(" ", self.word_delimiter)
        known = [tokens.get(letter, tokens.get(letter.upper(), tokens.get(letter.lower()))) for letter in spaced]
        if None in known:
            raise DataError(f"sample {index}: '{spaced[known.index(None)]}' of its text is none of the model's tokens")
        return np.array(known, np.int64).reshape(-1)

    def _tokens(self, samples: Samples) -> dict[str, int]:
        names = self.tokens or samples.names
        if not names:
            raise DataError(f"{self.name}: the model's tokens are not known; give a model folder with a vocabulary")
        return {name: number for number, name in enumerate(names)}

    def loss(self, outputs: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> LossSum:
        """Return the CTC loss of the logits [N, time, tokens], summed over samples."""
        import torch
        import torch.nn.functional as F

        wanted = labels["labels"]
        steps = F.log_softmax(outputs["logits"].float(), dim=-1).transpose(0, 1)
        lengths = torch.full((len(wanted),), len(steps), dtype=torch.long)
        blank, counts = int(labels.get("blank", self.blank)), (wanted >= 0).sum(dim=1)
        value = F.ctc_loss(steps, wanted.clamp(min=0), lengths, counts, blank=blank, reduction="sum", zero_infinity=True)
        return LossSum(value, len(wanted))

    def soft_labels(self) -> tuple[SoftLabels, ...]:
        """Return the logits of each step."""
        return (SoftLabels(),)

    def decoding(self, names: Sequence[str] = ()) -> decoding.Decoding:
        """Return how the outputs become answers."""
        tokens = list(self.tokens or names)
        return decoding.Ctc(tokens=tokens, blank=self._blank(tokens), word_delimiter=self.word_delimiter)

    def fitted(self, outputs: SampleOutputs, samples: Samples) -> SpeechRecognition:
        """Return the task with the tokens that the samples name."""
        return replace(self, tokens=self.tokens or samples.names)

    def answer(self, outputs: SampleOutputs, sample: Batch, about: Any = None) -> str:
        """Return the text of the logits [time, tokens]."""
        values = output_named(outputs, "logits")
        if values.ndim not in {1, 2}:
            raise DataError(f"the output has shape {list(values.shape)} for one sample; {self.name} needs [time, tokens]")
        return str(decoding.decode(self.decoding(), {"logits": np.asarray(values)[None]})[0]["text"])

    def measure(self, answers: Sequence[str], samples: Samples) -> Measured:
        """Return the word error rate."""
        return error_rates(answers, texts_of(samples))[0]

    def further(self, answers: Sequence[str], samples: Samples) -> tuple[Measured, ...]:
        """Return the character error rate."""
        return error_rates(answers, texts_of(samples))[1:]
