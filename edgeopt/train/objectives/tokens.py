"""Decoders: divergences between the next-token distributions of teacher p and student q, over tokens that count.

forward    KL(p ‖ q)                                   covers all that the teacher might say
reverse    KL(q ‖ p)                                   avoids what it would not say (MiniLLM, https://arxiv.org/abs/2306.08543)
js         β KL(p ‖ m) + (1 − β) KL(q ‖ m), m = β p + (1 − β) q     (GKD, https://arxiv.org/abs/2306.13649, equation 1)
skew       KL(p ‖ α p + (1 − α) q)                     (DistiLLM, https://arxiv.org/abs/2402.03898, equation 3)
skew-reverse   KL(q ‖ α q + (1 − α) p)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from edgeopt.errors import ModelError
from edgeopt.train.objectives.reduction import Reduction, reduced


@dataclass(frozen=True)
class Divergence:
    """Which divergence.

    Attributes:
        kind: see the docstring of this module.
        mix: β of js (None: ½) or α of skew (None: 0.1).
        temperature: T of both softmaxes.
    """

    kind: Literal["forward", "reverse", "js", "skew", "skew-reverse"] = "forward"
    mix: float | None = None
    temperature: float = 1.0


_FORWARD = Divergence()


def token_divergence(
    student: Tensor,
    teacher: Tensor,
    divergence: Divergence = _FORWARD,
    *,
    mask: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Return the divergence over tokens, times T².

    Args:
        student: logits [N, sequence, vocabulary]. A vocabulary padded at its end is cut to the shorter one.
        teacher: logits of the same tokens.
        divergence: which one, and its temperature.
        mask: [N, sequence], 0 where a token does not count (padding, the prompt).
        reduction: mean or sum over tokens.

    Raises:
        ModelError: the vocabularies differ too much to be the same one padded.
    """
    temperature, mix = divergence.temperature, divergence.mix
    ours, theirs = same_vocabulary(student, teacher)
    log_q, log_p = F.log_softmax(ours / temperature, dim=-1), F.log_softmax(theirs / temperature, dim=-1)
    match divergence.kind:
        case "forward":
            values = _kl(log_p, log_q)
        case "reverse":
            values = _kl(log_q, log_p)
        case "js":
            beta = 0.5 if mix is None else mix
            middle = _mixed(log_p, log_q, beta)
            values = beta * _kl(log_p, middle) + (1 - beta) * _kl(log_q, middle)
        case "skew":
            values = _kl(log_p, _mixed(log_p, log_q, 0.1 if mix is None else mix))
        case "skew-reverse":
            values = _kl(log_q, _mixed(log_q, log_p, 0.1 if mix is None else mix))
    return reduced(values, mask, reduction) * temperature**2


def same_vocabulary(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Return both logits over the tokens that both know: checkpoints pad their vocabulary to multiples of 64 or 128."""
    ours, theirs = student.shape[-1], teacher.shape[-1]
    if abs(ours - theirs) >= 256:
        raise ModelError(
            f"the student's vocabulary has {ours:,} tokens, the teacher's {theirs:,}: other tokenizers; use aligned spans "
            "(objective 'spans') or give the student the teacher's tokenizer"
        )
    shared = min(ours, theirs)
    return student[..., :shared], teacher[..., :shared]


def _kl(log_first: Tensor, log_second: Tensor) -> Tensor:
    return (log_first.exp() * (log_first - log_second)).sum(dim=-1)


def _mixed(log_first: Tensor, log_second: Tensor, share: float) -> Tensor:
    """Return log(share · first + (1 − share) · second)."""
    if not 0 < share < 1:
        raise ValueError(f"the mixture's share is {share}; it must lie between 0 and 1")
    return torch.logaddexp(log_first + math.log(share), log_second + math.log1p(-share))
