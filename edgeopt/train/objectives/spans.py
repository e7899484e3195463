"""Other tokenizers: both models read the same text, so the probabilities of the same characters can be compared.

Token boundaries that both tokenizers share cut a text into spans; a span is one or several tokens of each. By the chain rule
its
log-probability is the sum of those of its tokens, in either tokenization. (Universal logit distillation, Boizard et al. 2024,
https://arxiv.org/abs/2402.12030, compares sorted probabilities instead; the span form is that of Patiño et al. 2025, "GOLD".)
For spans s with teacher's and student's probability P_s, Q_s of what was written, against all else:

    L = Σ_s [P_s log(P_s / Q_s) + (1 − P_s) log((1 − P_s) / (1 − Q_s))]
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from edgeopt.train.objectives.reduction import Reduction, reduced

Offsets = Sequence[tuple[int, int]]
_LEAST = 1e-6


def aligned_spans(first: Offsets, second: Offsets) -> list[tuple[range, range]]:
    """Return the smallest runs of tokens of two tokenizations that cover the same characters.

    Args:
        first: (start, end) of each token in the text; empty ones (special tokens) belong to no span.
        second: the same of the other tokenizer.
    """
    ends = [{end: place for place, (start, end) in enumerate(tokens) if end > start} for tokens in (first, second)]
    starts = [
        next((place for place, (start, end) in enumerate(tokens) if end > start), len(tokens)) for tokens in (first, second)
    ]
    spans = []
    for end in sorted(ends[0].keys() & ends[1].keys()):
        last = [place[end] + 1 for place in ends]
        spans.append((range(starts[0], last[0]), range(starts[1], last[1])))
        starts = last
    return spans


def span_likelihoods(
    student: Tensor, teacher: Tensor, spans: Sequence[tuple[range, range]], *, reduction: Reduction = "mean"
) -> Tensor:
    """Return the divergence over spans of one text.

    Args:
        student: log-probability of each token given those before, [tokens of the student].
        teacher: the same of the teacher, [tokens of the teacher].
        spans: of the student's and the teacher's tokens, from `aligned_spans`.
        reduction: mean or sum over spans.
    """
    if not spans:
        return student.sum() * 0.0
    ours = torch.stack([student[span.start : span.stop].sum() for span, _ in spans])
    theirs = torch.stack([teacher[span.start : span.stop].sum() for _, span in spans])
    q, p = (values.exp().clamp(_LEAST, 1 - _LEAST) for values in (ours, theirs))
    return reduced(p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log(), None, reduction)
