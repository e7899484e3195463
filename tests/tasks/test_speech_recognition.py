"""CTC: greedy texts, the loss, letters that the model does not know."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from edgeopt.data.samples import Samples, from_arrays
from edgeopt.errors import DataError
from edgeopt.tasks.speech_recognition import SpeechRecognition

NAMES = ("<pad>", "|", "a", "b")


def spoken(texts: list[str]) -> Samples:
    return replace(from_arrays({"x": np.zeros((len(texts), 1), np.float32)}), annotations=texts, names=NAMES)


def test_repeats_are_merged_and_blanks_dropped() -> None:
    samples = spoken(["ab ba"])
    task = SpeechRecognition().fitted({}, samples)
    logits = np.eye(4)[[2, 2, 0, 3, 1, 3, 0, 2, 2]]
    assert task.answer({"logits": logits}, {}) == "ab ba"
    pytest.importorskip("jiwer")
    assert task.measure(["ab ba"], samples).value == 0.0
    assert task.measure(["ab aa"], samples).value == 0.5
    assert task.metric.points_lost(0.1, 0.2) == pytest.approx(10.0)


def test_the_loss_is_torchs_ctc() -> None:
    labels = SpeechRecognition().labels(spoken(["ab", "b"]), [0, 1], {})
    assert labels["labels"].tolist() == [[2, 3], [3, -1]]
    logits = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))
    found = SpeechRecognition().loss({"logits": logits}, {"labels": torch.from_numpy(labels["labels"])})
    expected = torch.nn.functional.ctc_loss(
        logits.log_softmax(-1).transpose(0, 1),
        torch.tensor([2, 3, 3]),
        torch.tensor([6, 6]),
        torch.tensor([2, 1]),
        reduction="sum",
    )
    assert float(found.mean()) == pytest.approx(float(expected) / 2, rel=1e-5)


def test_letters_and_vocabularies_that_are_missing_are_errors() -> None:
    with pytest.raises(DataError, match="sample 0: 'x' of its text is none of the model's tokens"):
        SpeechRecognition().labels(spoken(["ax"]), [0], {})
    with pytest.raises(DataError, match="tokens are not known"):
        SpeechRecognition().labels(replace(spoken(["a"]), names=()), [0], {})


def test_the_blank_is_the_token_for_padding_wherever_it_stands() -> None:
    samples = replace(spoken(["ab"]), names=("|", "a", "b", "[PAD]"))
    task = SpeechRecognition()
    assert task.fitted({}, samples).answer({"logits": np.eye(4)[[3, 1, 1, 3, 2]]}, {}) == "ab"
    labels = {name: torch.from_numpy(np.asarray(array)) for name, array in task.labels(samples, [0], {}).items()}
    logits = torch.randn(1, 6, 4, generator=torch.Generator().manual_seed(0))
    steps, ends = logits.log_softmax(-1).transpose(0, 1), (torch.tensor([6]), torch.tensor([2]))
    expected = torch.nn.functional.ctc_loss(steps, torch.tensor([1, 2]), *ends, blank=3, reduction="sum")
    assert float(task.loss({"logits": logits}, labels).total) == pytest.approx(float(expected), rel=1e-5)
