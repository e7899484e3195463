"""Error rates and BLEU: the figures of jiwer and sacrebleu, from counts per sample that can be drawn again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgeopt.data.samples import from_arrays
from edgeopt.errors import DataError
from edgeopt.tasks.texts import bleu, error_rates, texts_of

WANTED = ["the cat sat on the mat", "a quick brown fox jumps", "hello there general world"]
FOUND = ["the cat sat on a mat", "quick brown fox jumped over", "hello there general world"]


def test_error_rates_are_those_of_the_whole_corpus() -> None:
    jiwer = pytest.importorskip("jiwer")
    words, letters = error_rates(FOUND, WANTED)
    assert words.value == pytest.approx(jiwer.wer(WANTED, FOUND))
    assert letters.value == pytest.approx(jiwer.cer(WANTED, FOUND))
    assert words.compute(np.array([2, 2])) == 0.0


def test_bleu_is_that_of_the_whole_corpus() -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    expected = sacrebleu.corpus_bleu(FOUND, [WANTED]).score / 100
    assert bleu(FOUND, WANTED).value == pytest.approx(expected, abs=1e-6)


def test_labels_must_be_texts() -> None:
    samples = from_arrays({"x": np.zeros((2, 1))})
    assert texts_of(replace(samples, annotations=["a", "b"])) == ["a", "b"]
    with pytest.raises(DataError, match="not one text per sample"):
        texts_of(replace(samples, annotations=["a", 3]))
