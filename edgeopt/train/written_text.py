"""Parts of the loss of a language model over texts that a model writes: behind the first tokens of each training sample.

    sequence    the student learns what the teacher writes                      (Kim and Rush 2016)
    on_policy   both models are compared on what the student itself writes      (GKD, Agarwal et al. 2023)

The equations are those of `edgeopt.train.objectives.sequences`. What is written is drawn with PyTorch's random state, which a
checkpoint holds: a resumed training writes what it would have written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgeopt.errors import DataError
from edgeopt.train.config import DistillLoss
from edgeopt.train.objective import TrainBatch
from edgeopt.train.objectives.sequences import Drawn, Written, on_policy, sequence_likelihood, written
from edgeopt.train.objectives.tokens import Divergence
from edgeopt.train.teachers import Forward

_IDS, _MASK = "input_ids", "attention_mask"
PARTS = ("sequence", "on_policy")


@dataclass(frozen=True)
class WrittenText:
    """The parts that `options` ask for.

    Attributes:
        teacher: writes, and judges what the student wrote.
        forward: how models are called.
        options: weights, lengths and the divergence.
    """

    teacher: nn.Module
    forward: Forward
    options: DistillLoss

    @property
    def weights(self) -> Mapping[str, float]:
        """The weight of each part that counts."""
        options = self.options
        both = {"sequence": options.sequence_weight, "on_policy": options.on_policy_weight}
        return {part: weight for part, weight in both.items() if weight > 0}

    def count(self, batch: TrainBatch) -> float:
        """Return how many tokens are written for the batch."""
        return float(len(batch) * self.options.written_tokens)

    def sums(self, student: nn.Module, batch: TrainBatch) -> dict[str, Tensor]:
        """Return by part the sum of the loss over the written tokens.

        Raises:
            DataError: the samples are no token ids.
        """
        if _IDS not in batch.inputs:
            raise DataError(
                f"loss.sequence_weight and loss.on_policy_weight need samples with {_IDS}; these have {', '.join(batch.inputs)}"
            )
        prompts, mask = _prompts(batch.inputs, self.options.prompt_tokens)
        device, found = prompts.device, {}
        self.teacher.to(device).eval()
        if "sequence" in self.weights:
            text = self._written(self.teacher, prompts, mask, drawn=None)
            found["sequence"] = sequence_likelihood(self._logits(student, text), text, reduction="sum")
        if "on_policy" in self.weights:
            seed = int(torch.randint(2**31, ()).item())
            text = self._written(student, prompts, mask, drawn=Drawn(seed=seed))
            with torch.no_grad():
                judged = self._logits(self.teacher, text)
            found["on_policy"] = on_policy(self._logits(student, text), judged, text, self._divergence, reduction="sum")
        return found

    @property
    def _divergence(self) -> Divergence:
        kind = self.options.soft
        known = kind if kind in {"js", "skew", "skew-reverse"} else "reverse"
        return Divergence(known, self.options.mix)

    def _written(self, model: nn.Module, prompts: Tensor, mask: Tensor, *, drawn: Drawn | None) -> Written:
        modes = {module: module.training for module in model.modules()}  # (of frozen normalisations another than the model's)
        text = written(_Decoder(model, self.forward), prompts, mask, count=self.options.written_tokens, drawn=drawn)
        for module, mode in modes.items():
            module.training = mode
        return text

    def _logits(self, model: nn.Module, text: Written) -> Tensor:
        return self.forward(model, {_IDS: text.tokens, _MASK: text.attention})["logits"].float()


class _Decoder(nn.Module):
    """A model that is called with tokens and mask, and returns its logits."""

    def __init__(self, model: nn.Module, forward: Forward) -> None:
        super().__init__()
        self.model = model
        self._forward = forward

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        return self._forward(self.model, {_IDS: tokens, _MASK: mask})["logits"]


def _prompts(inputs: Mapping[str, Tensor], most: int) -> tuple[Tensor, Tensor]:
    """Return the first `most` tokens of each sample, padded on the left where a sample has fewer, and their mask."""
    ids = inputs[_IDS]
    mask = inputs.get(_MASK, torch.ones_like(ids)).long()
    lengths = mask.sum(dim=1).clamp(max=most)
    width = int(lengths.max())
    places = torch.arange(width, device=ids.device)[None] - (width - lengths)[:, None]  # < 0: padding
    starts = mask.argmax(dim=1)[:, None]  # (the first token that counts, however the samples are padded)
    taken = ids.gather(1, (starts + places.clamp(min=0)).clamp(max=ids.shape[1] - 1))
    real = (places >= 0).long()
    return taken * real, real
