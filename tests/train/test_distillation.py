"""The losses against plain references in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgeopt.data.samples import from_arrays
from edgeopt.errors import DataError
from edgeopt.train.config import DistillLoss
from edgeopt.train.distillation import distillation_loss, hidden_state_loss, soft_label_loss


def softmax(values: np.ndarray, temperature: float) -> np.ndarray:
    exponents = np.exp((values - values.max(axis=1, keepdims=True)) / temperature)
    return exponents / exponents.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0, 20.0])
def test_soft_label_loss_is_the_scaled_divergence(temperature: float) -> None:
    generator = np.random.default_rng(0)
    student, teacher = generator.standard_normal((2, 7, 5)) * 3
    p, q = softmax(teacher, temperature), softmax(student, temperature)
    expected = temperature**2 * np.sum(p * np.log(p / q)) / 7
    got = soft_label_loss(torch.tensor(student), torch.tensor(teacher), temperature).item()
    assert got == pytest.approx(expected, rel=1e-12)


def test_the_gradient_keeps_its_size_when_the_temperature_grows() -> None:
    sizes = []
    for temperature in (10.0, 100.0):
        student = torch.tensor([[1.0, -1.0, 0.5]], dtype=torch.float64, requires_grad=True)
        soft_label_loss(student, torch.tensor([[0.0, 2.0, -1.0]], dtype=torch.float64), temperature).backward()
        assert student.grad is not None
        sizes.append(student.grad.norm().item())
    assert sizes[0] == pytest.approx(sizes[1], rel=0.1)


def test_hidden_states_are_compared_by_their_layers_without_padding() -> None:
    generator = np.random.default_rng(1)
    student = [torch.tensor(generator.standard_normal((2, 3, 4))) for _ in range(3)]
    teacher = [torch.tensor(generator.standard_normal((2, 3, 4))) for _ in range(7)]
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]])
    keep = mask.numpy()[..., None]
    expected = np.mean(
        [(((student[i + 1] - teacher[layer + 1]).numpy() ** 2) * keep).sum() / (4 * 4) for i, layer in enumerate((2, 5))]
    )
    assert hidden_state_loss(student, teacher, (2, 5), mask).item() == pytest.approx(expected, rel=1e-12)


class Constant(torch.nn.Module):
    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.logits[: len(x)]


def test_the_weights_mix_soft_and_hard_labels() -> None:
    samples = from_arrays({"x": np.zeros((2, 1), np.float32)}, np.array([0, 2]))
    logits, soft = torch.tensor([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]), torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    student = Constant(logits)
    inputs = {"x": torch.zeros(2, 1)}
    mixed, softly, hardly = (
        distillation_loss(student, soft, samples, options=DistillLoss(temperature=3.0, soft_weight=weight), layers=None)(
            student, inputs, [0, 1]
        ).item()
        for weight in (0.25, 1.0, 0.0)
    )
    assert softly == pytest.approx(soft_label_loss(logits, soft, 3.0).item())
    assert hardly == pytest.approx(torch.nn.functional.cross_entropy(logits, torch.tensor([0, 2])).item())
    assert mixed == pytest.approx(0.25 * softly + 0.75 * hardly)


def test_hard_labels_that_are_missing_are_asked_for() -> None:
    samples = from_arrays({"x": np.zeros((2, 1), np.float32)})
    with pytest.raises(DataError, match="soft_weight to 1"):
        distillation_loss(Constant(torch.zeros(2, 3)), torch.zeros(2, 3), samples, options=DistillLoss(), layers=None)
