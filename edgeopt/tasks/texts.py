"""Metrics of texts that a model writes: word and character error rate (jiwer), BLEU (sacrebleu)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeopt.errors import DataError
from edgeopt.extras import need
from edgeopt.tasks.metric import Measured, Metric, of_sums

if TYPE_CHECKING:
    from edgeopt.data.samples import Samples

WER = Metric("WER", larger_is_better=False)
CER = Metric("CER", larger_is_better=False)
BLEU = Metric("BLEU")


def error_rates(answers: Sequence[str], wanted: Sequence[str]) -> tuple[Measured, Measured]:
    """Return the word and the character error rate: substitutions, deletions and insertions per word of the truth.

    Raises:
        MachineError: the package jiwer is not installed.
    """
    need("jiwer", purpose="the word error rate")
    import jiwer

    words: list[tuple[int, int]] = []
    letters: list[tuple[int, int]] = []
    for answer, truth in zip(answers, wanted, strict=True):
        for rows, process in ((words, jiwer.process_words), (letters, jiwer.process_characters)):
            rows.append(_edits(process(truth, answer)) if truth.strip() else (len(answer.split()), 0))
    return (
        of_sums(WER, np.array(words, np.float64), _rate),
        of_sums(CER, np.array(letters, np.float64), _rate),
    )


def _edits(result: Any) -> tuple[int, int]:
    wrong = result.substitutions + result.deletions
    return int(wrong + result.insertions), int(wrong + result.hits)


def _rate(sums: NDArray[np.float64]) -> float:
    return float(sums[0] / max(sums[1], 1.0))


def bleu(answers: Sequence[str], wanted: Sequence[str]) -> Measured:
    """Return the corpus BLEU in 0…1 (Post 2018, https://arxiv.org/abs/1804.08771).

    Raises:
        MachineError: the package sacrebleu is not installed.
    """
    need("sacrebleu", purpose="BLEU")
    from sacrebleu.metrics.bleu import BLEU as SACRE

    metric = SACRE(effective_order=False)
    statistics = [_bleu_row(metric.sentence_score(answer, [truth])) for answer, truth in zip(answers, wanted, strict=True)]

    def value(sums: NDArray[np.float64]) -> float:
        lengths, correct, total = sums[:2], sums[2:6], sums[6:]
        score = SACRE.compute_bleu(
            [int(number) for number in correct],
            [int(number) for number in total],
            int(lengths[0]),
            int(lengths[1]),
            smooth_method="exp",
        )
        return float(score.score) / 100

    return of_sums(BLEU, np.array(statistics, np.float64), value)


def _bleu_row(score: Any) -> list[int]:
    """Return the lengths, then the matches and the n-grams of length 1 to 4."""
    return [int(number) for number in (score.sys_len, score.ref_len, *score.counts, *score.totals)]


def texts_of(samples: Samples) -> list[str]:
    """Return the labels as texts.

    Raises:
        DataError: they are something else.
    """
    values = list(samples.annotations or ())
    if len(values) != len(samples) or not all(isinstance(value, str) for value in values):
        raise DataError("the labels are not one text per sample")
    return values
