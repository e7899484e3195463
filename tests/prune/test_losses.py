"""The loss that gradients come from, and the divergence that allocations are judged by."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from edgeopt.prune.losses import Judge, divergence, loss_for, next_token_loss
from tests.prune.tiny_models import texts, tiny


def test_labels_give_cross_entropy() -> None:
    model, _, _ = tiny("bert")
    samples = texts(4)
    batch = samples.collate([1, 2])
    given = {name: torch.from_numpy(array) for name, array in batch.items()}
    wanted = F.cross_entropy(model(**given).logits, torch.from_numpy(samples.labels[1:3]))
    assert float(loss_for(samples)(model, batch, [1, 2]).detach()) == pytest.approx(float(wanted.detach()))


def test_the_next_token_is_predicted_and_padding_does_not_count() -> None:
    logits = torch.randn(2, 5, 9)
    ids, mask = torch.randint(0, 9, (2, 5)), torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    rows = [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1)]
    wanted = torch.stack([F.cross_entropy(logits[row, place], ids[row, place + 1]) for row, place in rows]).mean()
    found = next_token_loss(logits, {"input_ids": ids, "attention_mask": mask})
    assert float(found) == pytest.approx(float(wanted))


def test_the_divergence_is_zero_for_equal_outputs_and_ignores_padding() -> None:
    theirs = torch.randn(2, 3, 4)
    ours = theirs.clone()
    ours[1, 2] += torch.tensor([3.0, 0, 0, 0])
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    assert float(divergence(ours, theirs, logits=True, mask=mask)) == pytest.approx(0, abs=1e-7)
    assert float(divergence(ours, theirs, logits=True)) > 0.01
    assert float(divergence(2 * theirs, theirs, logits=False)) == pytest.approx(1)


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_a_judge_compares_with_what_the_model_gave_at_first(family: str) -> None:
    model, _, _ = tiny(family)
    judge = Judge(model, texts(6))
    assert judge() == pytest.approx(0, abs=1e-7)
    with torch.no_grad():
        next(reversed(list(model.parameters()))).mul_(3)
        for parameter in model.parameters():
            parameter.add_(0.05)
    assert judge() > 1e-6
