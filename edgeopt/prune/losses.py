"""What pruning asks of a model whose task it does not know: a loss whose gradients tell what matters, and a divergence.

    with labels              cross-entropy
    a language model         cross-entropy of the next token
    neither                  cross-entropy with the model's own answers, or half the squared norm of its outputs

The divergence of a pruned model from the whole one is KL(softmax(whole) ‖ softmax(pruned)) per row of logits, and for other
outputs what distillation minimises (`edgeopt.train.numbers`): boxes and scores of detectors, or numbers by their spread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeopt.batches import Batch
from edgeopt.data.samples import Samples
from edgeopt.models.call import named_outputs, tensors_of, to_tensors
from edgeopt.tasks.object_detection import ObjectDetection
from edgeopt.tasks.registry import task_for
from edgeopt.tasks.task import SoftForm, SoftLabels
from edgeopt.train.numbers import number_difference, variances_of
from edgeopt.train.task_loss import fitted
from edgeopt.train.teach import Subject

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


def divergence(ours: Tensor, theirs: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """Return KL(softmax(theirs) ‖ softmax(ours)) per row of logits; rows of padding do not count."""
    if mask is not None and ours.shape[:2] == mask.shape:
        chosen = mask.bool()
        ours, theirs = ours[chosen], theirs[chosen]
    p, q = F.log_softmax(theirs, -1), F.log_softmax(ours, -1)
    return F.kl_div(q.reshape(-1, q.shape[-1]), p.reshape(-1, p.shape[-1]), log_target=True, reduction="batchmean")


def number_subject(model: nn.Module, samples: Samples) -> Subject:
    """Return how outputs that are no logits are learned and judged: a detector's boxes and scores, all others as numbers."""
    task = fitted(task_for(samples), model, samples)
    if isinstance(task, ObjectDetection) and task.boxes is not None:
        return Subject(task.call, task.soft_labels())
    forward = _main_alone if hasattr(model, "config") else named_outputs
    given = to_tensors(samples.collate([0]))
    with torch.no_grad():
        outputs = forward(model.eval(), given)
    mask = "attention_mask" if "attention_mask" in given else None
    numbers = {name: value for name, value in outputs.items() if value.is_floating_point()}
    return Subject(
        forward, [SoftLabels(name, SoftForm.VALUE, mask, transposed=value.ndim == 4) for name, value in numbers.items()]
    )


def _main_alone(model: nn.Module, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {SoftLabels.output: main_output(model, given)}


class Judge:
    """Divergence of a model from what it gave at first, on the same samples; `power`: the share of its outputs' mean square."""

    def __init__(self, model: nn.Module, samples: Samples, *, batch_size: int = 32, power: bool = False) -> None:
        self.model, self.power = model, power
        self.batches = [to_tensors(batch) for batch in samples.sorted_batches(batch_size)]
        self.subject: Subject | None = None
        if not power and self.batches and not has_logits(model, self._run(self.batches[0])[SoftLabels.output]):
            self.subject = number_subject(model, samples)
            self.variances = variances_of(self.subject.soft, model, self.subject.forward, samples)
        self.whole = [self._run(batch) for batch in self.batches]

    def __call__(self) -> float:
        """Return the divergence of the model as it is now."""
        total = rows = 0.0
        for batch, theirs in zip(self.batches, self.whole, strict=True):
            count = len(next(iter(batch.values())))
            total += float(self._sum(self._run(batch), theirs, batch, count))
            rows += count
        return total / max(1.0, rows)

    def _sum(self, ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], batch: Mapping[str, Tensor], count: int) -> Tensor:
        """Return the divergence of a batch of `count` samples, summed over them."""
        if self.subject is not None:
            differences = [
                number_difference(target, ours, theirs, variances=self.variances, inputs=batch) for target in self.subject.soft
            ]
            return torch.stack(differences).sum()
        made, wanted, mask = ours[SoftLabels.output], theirs[SoftLabels.output], batch.get("attention_mask")
        if not self.power:
            return divergence(made, wanted, mask=mask) * count
        if mask is not None and made.shape[:2] == mask.shape:
            made, wanted = made[mask.bool()], wanted[mask.bool()]
        return F.mse_loss(made, wanted) / wanted.pow(2).mean().clamp(min=1e-12) * count

    @torch.no_grad()
    def _run(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        self.model.eval()
        forward = _main_alone if self.subject is None else self.subject.forward
        return {name: value.float() for name, value in forward(self.model, batch).items()}
