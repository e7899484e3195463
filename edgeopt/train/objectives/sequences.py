"""Decoders on whole sequences: on those that the teacher writes, or on those that the student writes itself.

sequence-level   −Σₜ log q(yₜ | y₍<t₎, x)                  y written by the teacher for the prompt x, best token by best token
                                                            (Kim and Rush 2016, https://arxiv.org/abs/1606.07947, section 3.2)
on-policy        Σₜ D(p(· | y₍<t₎, x) ‖ q(· | y₍<t₎, x))    y drawn from the student, no gradient through the drawing
                                                            (GKD, https://arxiv.org/abs/2306.13649, equation 2)

A step of either, in any training loop:

    text = written(teacher, prompts, mask, count=32)                          # sequence-level
    loss = sequence_likelihood(student(text.tokens, text.attention).logits, text)

    text = written(student, prompts, mask, count=32, drawn=Drawn(seed=step))          # on-policy
    with torch.no_grad():
        judged = teacher(text.tokens, text.attention).logits
    loss = on_policy(student(text.tokens, text.attention).logits, judged, text)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeopt.errors import ModelError
from edgeopt.train.objectives.reduction import Reduction, reduced
from edgeopt.train.objectives.tokens import Divergence, token_divergence

_REVERSE = Divergence("reverse")


@dataclass(frozen=True)
class Drawn:
    """How tokens are drawn from a model's distribution."""

    temperature: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Written:
    """Prompts with what a model wrote behind them.

    Attributes:
        tokens: int64 [N, length].
        attention: int64 [N, length], 0 at padding.
        counts: int64 [N, length], 1 at positions whose next token was written by the model.
    """

    tokens: Tensor
    attention: Tensor
    counts: Tensor


@torch.no_grad()
def written(
    model: nn.Module,
    prompts: Tensor,
    attention: Tensor,
    *,
    count: int,
    drawn: Drawn | None = None,
    end: int | None = None,
) -> Written:
    """Let a decoder write `count` tokens behind each prompt.

    Args:
        model: called with tokens and attention mask; returns logits [N, sequence, vocabulary], alone or as ``logits``.
        prompts: int64 [N, length], padded on the left.
        attention: 0 at padding.
        count: tokens to write.
        drawn: how tokens are drawn; None: the best token each time.
        end: token after which a text counts no more; None: there is none.

    Raises:
        ModelError: a prompt is padded on the right, so that the model would write behind the padding.
    """
    if not bool((attention[:, -1] > 0).all()):
        raise ModelError("the prompts are padded on the right; pad them on the left, so that the text continues behind them")
    generator = torch.Generator(device=prompts.device).manual_seed(drawn.seed if drawn else 0)
    was = model.training
    model.eval()
    tokens, mask = prompts, attention.long()
    counts = torch.zeros_like(mask)
    going = torch.ones(len(prompts), dtype=torch.bool, device=prompts.device)
    for _ in range(count):
        chosen = _next(_logits(model(tokens, mask))[:, -1], drawn, generator)
        counts = torch.cat([counts[:, :-1], going[:, None].long(), torch.zeros_like(counts[:, :1])], dim=1)
        tokens = torch.cat([tokens, chosen[:, None]], dim=1)
        mask = torch.cat([mask, going[:, None].long()], dim=1)
        going = going & (chosen != end) if end is not None else going
        if not bool(going.any()):
            break
    model.train(was)
    return Written(tokens, mask, counts)


def _logits(outputs: object) -> Tensor:
    found = getattr(outputs, "logits", outputs)
    if not isinstance(found, Tensor):
        raise ModelError(f"the model gives {type(outputs).__name__}; logits are needed, alone or as 'logits'")
    return found


def _next(logits: Tensor, drawn: Drawn | None, generator: torch.Generator) -> Tensor:
    if drawn is None:
        return logits.argmax(dim=-1)
    chances = F.softmax(logits.float() / drawn.temperature, dim=-1)
    return torch.multinomial(chances, 1, generator=generator)[:, 0]


def sequence_likelihood(student: Tensor, text: Written, *, reduction: Reduction = "mean") -> Tensor:
    """Return the cross-entropy of the tokens that a teacher wrote, over those tokens.

    Args:
        student: logits [N, length, vocabulary] of `text`.
        text: what the teacher wrote.
        reduction: mean or sum over written tokens.
    """
    values = F.cross_entropy(student[:, :-1].float().transpose(1, 2), text.tokens[:, 1:], reduction="none")
    return reduced(values, text.counts[:, :-1], reduction)


def on_policy(
    student: Tensor, teacher: Tensor, text: Written, divergence: Divergence = _REVERSE, *, reduction: Reduction = "mean"
) -> Tensor:
    """Return the divergence of teacher and student over the tokens that the student wrote.

    Args:
        student: logits [N, length, vocabulary] of `text`, with gradients.
        teacher: logits of the same.
        text: what the student wrote.
        divergence: which one; reverse avoids what the teacher would not say.
        reduction: mean or sum over written tokens.
    """
    return token_divergence(student, teacher, divergence, mask=text.counts, reduction=reduction)
