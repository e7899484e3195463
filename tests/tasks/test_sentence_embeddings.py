"""Sentence embeddings: pooling, cosines of pairs, agreement without scores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from edgeopt.data.samples import Samples
from edgeopt.tasks.sentence_embeddings import SentenceEmbeddings

TASK = SentenceEmbeddings()


def pairs(scores: list[float]) -> Samples:
    samples = Samples(2 * len(scores), lambda index: {"input_ids": np.full(3, index)}, None, "digest", group=2)
    return replace(samples, annotations=[score for score in scores for _ in range(2)])


class Tokens(nn.Module):
    """Token vectors: the ids' one-hot rows."""

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"last_hidden_state": torch.nn.functional.one_hot(input_ids, 4).float()}


def test_padding_is_not_pooled_in_torch_or_in_numpy() -> None:
    ids, mask = torch.tensor([[1, 1, 2, 0, 0]]), torch.tensor([[1, 1, 1, 0, 0]])
    vector = TASK.call(Tokens(), {"input_ids": ids, "attention_mask": mask})["sentence_embedding"]
    expected = np.array([0, 2, 1, 0]) / np.sqrt(5)
    np.testing.assert_allclose(vector[0].numpy(), expected, atol=1e-6)
    hidden = np.eye(4, dtype=np.float32)[[1, 1, 2, 0, 0]]
    answer = TASK.answer({"last_hidden_state": hidden}, {"attention_mask": mask[0].numpy()})
    np.testing.assert_allclose(answer, expected, atol=1e-6)
    first = SentenceEmbeddings(pooling="first").answer({"last_hidden_state": hidden}, {})
    assert first.tolist() == [0.0, 1.0, 0.0, 0.0]
    last = SentenceEmbeddings(pooling="last").call(Tokens(), {"input_ids": ids, "attention_mask": mask})
    assert last["sentence_embedding"][0].tolist() == [0.0, 0.0, 1.0, 0.0]


def test_cosines_of_pairs_are_ranked_against_the_scores() -> None:
    angles = [0.0, 0.2, 0.0, 0.9, 0.0, 2.0]
    answers = [TASK.answer({"v": np.array([np.cos(angle), np.sin(angle)])}, {}) for angle in angles]
    assert TASK.measure(answers, pairs([5.0, 3.0, 0.0])).value == pytest.approx(1.0)
    assert TASK.measure(answers, pairs([0.0, 3.0, 5.0])).value == pytest.approx(-1.0)
    assert TASK.measure(answers, pairs([0.0, 3.0, 5.0])).count == 3
    assert not TASK.is_labelled(replace(pairs([1.0]), annotations=None))


def test_models_agree_by_cosine_or_by_their_similarities() -> None:
    ours = [np.array([1.0, 0.0], np.float32), np.array([0.0, 1.0], np.float32), np.array([0.8, 0.6], np.float32)]
    turned = [np.array([row[1], row[0]], np.float32) for row in ours]
    assert TASK.agreement(ours, ours) == pytest.approx(1.0)
    assert TASK.agreement(ours, turned) == pytest.approx((0 + 0 + 0.96) / 3)
    assert TASK.changed(ours, turned) == 3
    wider = [np.concatenate([row, np.zeros(1, np.float32)]) for row in turned]
    assert TASK.agreement(ours, wider) == pytest.approx(1.0)  # other widths: what is alike for one is alike for the other


def test_the_loss_is_of_the_pairs_that_are_whole() -> None:
    labels = TASK.labels(pairs([0.0, 5.0]), [2, 0, 3], {})
    vectors = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    found = TASK.loss({"sentence_embedding": vectors}, {name: torch.from_numpy(row) for name, row in labels.items()})
    assert float(found.count) == 1
    assert float(found.mean()) == pytest.approx((0.6 - 1.0) ** 2)


def test_a_judged_model_also_gives_what_its_exported_file_gives() -> None:
    class Pooled(nn.Module):
        def forward(self, input_ids: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"sentence_embedding": torch.nn.functional.one_hot(input_ids[:, 0], 4).float()}

    ids = torch.tensor([[1, 2]])
    both = TASK.predict(Tokens(), {"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    assert {name: tuple(value.shape) for name, value in both.items()} == {
        "last_hidden_state": (1, 2, 4),  # compared with the file's output of this name
        "sentence_embedding": (1, 4),
    }
    assert list(TASK.predict(Pooled(), {"input_ids": ids})) == ["sentence_embedding"]
