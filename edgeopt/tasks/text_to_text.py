"""Sequence to sequence: a text (or a recording) becomes a text, word by word, as in translation, summaries and transcripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from edgeopt.batches import Array, Batch, concatenate
from edgeopt.data.annotations import IGNORED, Words
from edgeopt.errors import DataError
from edgeopt.tasks import decoding
from edgeopt.tasks.metric import Measured, Metric
from edgeopt.tasks.task import LossSum, SampleOutputs, SoftLabels, Task
from edgeopt.tasks.texts import BLEU, bleu, error_rates, texts_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from edgeopt.data.samples import Sample, Samples

_GIVEN, _COUNTS = "decoder_input_ids", "decoder_attention_mask"


@dataclass(frozen=True)
class TextToText(Task):
    """Sequence to sequence: cross-entropy per token, BLEU of what the model writes (speech: word error rate)."""

    name: ClassVar[str] = "text2text-generation"
    metric: ClassVar[Metric] = BLEU
    wanted: ClassVar[str] = "a text per sample"
    max_tokens: int = 64
    """Longest answer."""

    def labels(self, samples: Samples, indices: Sequence[int], inputs: Batch) -> dict[str, Array]:
        """Return the tokens of the texts, int64 [N, longest], -100 behind their ends."""
        abouts = [None if samples.contexts is None else samples.contexts[index] for index in indices]
        if not all(isinstance(about, Words) for about in abouts):
            raise DataError(f"{self.name}: the labels' tokens are not known; read the samples from texts with a tokenizer")
        rows = concatenate([np.array(about.tokens, np.int64) for about in abouts if about], pad=IGNORED)
        given = inputs.get(_GIVEN)
        places = rows.shape[1] if given is None else given.shape[1]
        return {"labels": np.pad(rows, ((0, 0), (0, places - rows.shape[1])), constant_values=IGNORED)}

    def with_answers(self, samples: Samples, model: nn.Module) -> Samples:
        """Return samples that begin to answer: each token of the text is predicted from those before it.

        Raises:
            DataError: the samples' texts are not known as tokens, or the model does not say with which token a text begins.
        """
        if not len(samples) or _GIVEN in samples[0] or not all(isinstance(one, Words) for one in samples.contexts or [None]):
            return samples
        config = getattr(model, "config", None)
        start = getattr(config, "decoder_start_token_id", None)
        if not isinstance(start, int):
            raise DataError(f"{self.name}: {type(model).__name__} has no decoder_start_token_id; state it in its config.json")
        words = [_without(start, one) for one in samples.contexts or ()]

        def read(index: int) -> Sample:
            tokens = np.array([start, *words[index].tokens[:-1]], np.int64)
            return {**samples.read(index), _GIVEN: tokens, _COUNTS: np.ones_like(tokens)}

        pad = getattr(config, "pad_token_id", None)
        return replace(samples, read=read, contexts=words, pad={**samples.pad, _GIVEN: pad if isinstance(pad, int) else 0})

    def predict(self, model: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Let a transformers model write, greedily."""
        generate = getattr(model, "generate", None)
        if generate is None:
            raise DataError(f"{self.name}: {type(model).__name__} cannot generate; give a transformers model")
        return {"sequences": generate(**inputs, max_new_tokens=self.max_tokens, do_sample=False, num_beams=1)}

    def loss(self, outputs: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> LossSum:
        """Return the cross-entropy of the logits [N, length, vocabulary], summed over the tokens of the texts."""
        import torch.nn.functional as F

        wanted = labels["labels"].reshape(-1)
        logits = outputs["logits"].reshape(len(wanted), -1)
        return LossSum(F.cross_entropy(logits, wanted, reduction="sum", ignore_index=IGNORED), (wanted != IGNORED).sum())

    def soft_labels(self) -> tuple[SoftLabels, ...]:
        """Return the logits of each token of the texts."""
        return (SoftLabels(mask=_COUNTS),)

    def decoding(self, names: Sequence[str] = ()) -> decoding.Decoding:
        """Return how the outputs become answers."""
        return decoding.Text()

    def answer(self, outputs: SampleOutputs, sample: Batch, about: Any = None) -> str:
        """Return the text of the tokens that the model wrote."""
        ids = outputs.get("sequences", next(iter(outputs.values())))
        if not isinstance(about, Words) or ids.ndim != 1:
            raise DataError(
                f"{self.name}: needs the tokens that a model wrote and a tokenizer; an encoder's outputs are neither"
            )
        return str(about.to_text([int(token) for token in ids]))

    def measure(self, answers: Sequence[str], samples: Samples) -> Measured:
        """Return BLEU."""
        return bleu(answers, texts_of(samples))

    def further(self, answers: Sequence[str], samples: Samples) -> tuple[Measured, ...]:
        """Return the error rates."""
        return error_rates(answers, texts_of(samples))


def _without(start: int, words: Words) -> Words:
    """Return a text's tokens without the one that begins every text."""
    return replace(words, tokens=words.tokens[1:]) if words.tokens[:1] == (start,) else words


@dataclass(frozen=True)
class Transcription(TextToText):
    """Speech to text by an encoder and a decoder, such as Whisper: as `TextToText`, with the word error rate."""

    name: ClassVar[str] = "speech2seq"
    metric: ClassVar[Metric] = Metric("WER", larger_is_better=False)
    kind: Literal["speech"] = "speech"

    def measure(self, answers: Sequence[str], samples: Samples) -> Measured:
        """Return the word error rate."""
        return error_rates(answers, texts_of(samples))[0]

    def further(self, answers: Sequence[str], samples: Samples) -> tuple[Measured, ...]:
        """Return the character error rate."""
        return error_rates(answers, texts_of(samples))[1:]
