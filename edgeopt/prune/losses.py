"""What pruning asks of a model whose task it does not know: a loss whose gradients tell what matters, and a divergence.

    with labels              cross-entropy
    a language model         cross-entropy of the next token
    neither                  cross-entropy with the model's own answers, or half the squared norm of its outputs

The divergence of a pruned model from the whole one is KL(softmax(whole) ‖ softmax(pruned)) per row of logits, or the mean
squared error as a share of the whole model's mean square where outputs are no logits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeopt.batches import Batch
from edgeopt.data.samples import Samples
from edgeopt.models.call import tensors_of, to_tensors

_LOGITS = ("ForSequenceClassification", "ForTokenClassification", "ForMaskedLM", "ForCausalLM", "LMHeadModel")
_IMAGES = ("ForImageClassification", "ForAudioClassification", "ForConditionalGeneration", "ForCTC", "MTModel")


def loss_for(samples: Samples) -> Callable[[nn.Module, Batch, Sequence[int]], Tensor]:
    """Return the loss of a batch of `samples`, given with its indices."""
    labels = samples.labels

    def loss(model: nn.Module, batch: Batch, indices: Sequence[int]) -> Tensor:
        given = to_tensors(batch)
        logits = main_output(model, given)
        if is_language_model(model):
            return next_token_loss(logits, given)
        if labels is not None and logits.ndim == 2 and int(labels.max(initial=0)) < logits.shape[1]:
            return F.cross_entropy(logits, torch.from_numpy(labels[list(indices)]))
        if has_logits(model, logits):
            rows = logits.reshape(-1, logits.shape[-1])
            return F.cross_entropy(rows, rows.detach().argmax(-1))
        return 0.5 * (logits**2).mean()

    return loss


def main_output(model: nn.Module, given: Mapping[str, Tensor]) -> Tensor:
    """Return the model's first output."""
    named: dict[str, Any] = dict(given)
    if getattr(getattr(model, "config", None), "use_cache", None):
        named["use_cache"] = False
    result = model(**named)
    logits = result.get("logits") if isinstance(result, Mapping) else None
    return logits if isinstance(logits, Tensor) else next(tensors_of(result))


def is_language_model(model: nn.Module) -> bool:
    """Return whether `model` predicts the next token."""
    return type(model).__name__.endswith(("ForCausalLM", "LMHeadModel"))


def has_logits(model: nn.Module, output: Tensor) -> bool:
    """Return whether the model's main output are logits over its last axis."""
    name = type(model).__name__
    return name.endswith((*_LOGITS, *_IMAGES)) or (not hasattr(model, "config") and output.ndim == 2 and output.shape[1] > 1)


def next_token_loss(logits: Tensor, given: Mapping[str, Tensor]) -> Tensor:
    """Return the mean cross-entropy of the next token; padding does not count."""
    targets = given["input_ids"][:, 1:]
    mask = given.get("attention_mask")
    if mask is not None:
        targets = targets.masked_fill(mask[:, 1:] == 0, -100)
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), targets.flatten(), ignore_index=-100)


def divergence(ours: Tensor, theirs: Tensor, *, logits: bool, mask: Tensor | None = None) -> Tensor:
    """Return how far `ours` is from `theirs`; rows of padding do not count."""
    if mask is not None and ours.shape[:2] == mask.shape:
        chosen = mask.bool()
        ours, theirs = ours[chosen], theirs[chosen]
    if not logits:
        return F.mse_loss(ours, theirs) / theirs.pow(2).mean().clamp(min=1e-12)
    p, q = F.log_softmax(theirs, -1), F.log_softmax(ours, -1)
    return F.kl_div(q.reshape(-1, q.shape[-1]), p.reshape(-1, p.shape[-1]), log_target=True, reduction="batchmean")


class Judge:
    """Divergence of a model from what it gave at first, on the same samples; `power`: the share of its outputs' mean square."""

    def __init__(self, model: nn.Module, samples: Samples, *, batch_size: int = 32, power: bool = False) -> None:
        self.model = model
        self.batches = [to_tensors(batch) for batch in samples.sorted_batches(batch_size)]
        self.whole = [self._run(batch) for batch in self.batches]
        self.logits = not power and bool(self.whole) and has_logits(model, self.whole[0])

    def __call__(self) -> float:
        """Return the divergence of the model as it is now."""
        total = rows = 0.0
        for batch, theirs in zip(self.batches, self.whole, strict=True):
            count = len(next(iter(batch.values())))
            total += float(divergence(self._run(batch), theirs, logits=self.logits, mask=batch.get("attention_mask"))) * count
            rows += count
        return total / max(1.0, rows)

    @torch.no_grad()
    def _run(self, batch: Mapping[str, Tensor]) -> Tensor:
        self.model.eval()
        return main_output(self.model, batch).float()
