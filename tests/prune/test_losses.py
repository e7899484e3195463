"""The loss that gradients come from, and the divergence that allocations are judged by."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from edgeopt.data.samples import from_arrays
from edgeopt.prune.losses import Judge, divergence, loss_for, next_token_loss
from tests.prune.tiny_models import texts, tiny, tiny_detector


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
    assert float(divergence(ours, theirs, mask=mask)) == pytest.approx(0, abs=1e-7)
    assert float(divergence(ours, theirs)) > 0.01


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


def test_power_is_the_share_of_the_outputs_mean_square() -> None:
    model = torch.nn.Sequential(torch.nn.Conv1d(2, 3, 1))
    model.forward = lambda x: torch.nn.Sequential.forward(model, x)  # type: ignore[method-assign,assignment]
    judge = Judge(model, from_arrays({"x": np.random.default_rng(0).normal(size=(4, 2, 5)).astype(np.float32)}), power=True)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    assert judge() == pytest.approx(1)


def test_a_detector_is_judged_by_its_scores_and_the_boxes_of_objects() -> None:
    """Most of the error of an output map used to be that of boxes in empty cells, which nothing reads."""

    def error(weight: float, bias: float) -> float:
        """Return the error where the first number of a box moves by weight · brightness + bias: objects have 2, others 0."""
        detector, samples = tiny_detector()
        judge = Judge(detector, samples)
        assert judge() == pytest.approx(0, abs=1e-5)
        with torch.no_grad():
            detector.last.weight[1, 0] += weight
            detector.last.bias[1] += bias
        return judge()

    of_objects, of_others = error(1.0, 0.0), error(-1.0, 2.0)
    assert of_objects > 3 * of_others > 0, "61 of 64 cells are empty"
    detector, samples = tiny_detector()
    judge = Judge(detector, samples)
    with torch.no_grad():
        detector.last.bias[0] -= 14.0  # sees no object any more
    assert judge() > 1


def test_every_output_of_numbers_is_compared() -> None:
    class Two(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = torch.nn.Conv1d(2, 3, 1), torch.nn.Conv1d(2, 3, 1)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.first(x), self.second(x)

    model = Two()
    judge = Judge(model, from_arrays({"x": np.random.default_rng(0).normal(size=(4, 2, 5)).astype(np.float32)}))
    with torch.no_grad():
        model.second.weight.add_(1.0)
    assert judge() > 0.1
