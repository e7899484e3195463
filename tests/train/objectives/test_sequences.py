"""Sequences that a teacher or the student wrote: what is written, what counts, and that a student learns from it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgeopt.errors import ModelError
from edgeopt.train.objectives.sequences import Drawn, on_policy, sequence_likelihood, written
from edgeopt.train.objectives.tokens import Divergence, token_divergence

VOCABULARY = 6


class Bigrams(nn.Module):
    """The next token depends on the last one alone."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = nn.Parameter(table)

    def forward(self, tokens: Tensor, attention: Tensor) -> Tensor:
        return self.table[tokens]


def counting() -> Bigrams:
    """A model that says 1 after 0, 2 after 1, and so on."""
    return Bigrams(8.0 * torch.roll(torch.eye(VOCABULARY), 1, dims=1))


PROMPTS, MASK = torch.tensor([[0, 1], [5, 3]]), torch.tensor([[1, 1], [0, 1]])


def test_a_text_goes_on_behind_the_prompt_until_its_end() -> None:
    text = written(counting(), PROMPTS, MASK, count=3)
    assert text.tokens.tolist() == [[0, 1, 2, 3, 4], [5, 3, 4, 5, 0]]
    assert text.counts.tolist() == [[0, 1, 1, 1, 0]] * 2  # positions that predict a written token
    assert text.attention.tolist() == [[1, 1, 1, 1, 1], [0, 1, 1, 1, 1]]
    ended = written(counting(), PROMPTS, MASK, count=4, end=4)
    assert ended.tokens[:, :5].tolist() == [[0, 1, 2, 3, 4], [5, 3, 4, 5, 0]]
    assert ended.counts.tolist() == [[0, 1, 1, 1, 0], [0, 1, 0, 0, 0]]  # behind its end nothing counts
    with pytest.raises(ModelError, match="pad them on the left"):
        written(counting(), PROMPTS, torch.tensor([[1, 0], [1, 1]]), count=1)


def test_drawn_texts_depend_on_the_seed_alone_and_the_model_stays_in_its_mode() -> None:
    model = Bigrams(torch.zeros(VOCABULARY, VOCABULARY)).train()
    first, again, other = (written(model, PROMPTS, MASK, count=20, drawn=Drawn(seed=seed)).tokens for seed in (3, 3, 4))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert model.training and first.unique().numel() == VOCABULARY


def test_likelihood_and_divergence_are_those_of_written_tokens() -> None:
    text = written(counting(), PROMPTS, MASK, count=3)
    student = torch.tensor(np.random.default_rng(0).standard_normal((2, 5, VOCABULARY)))
    log_q = torch.log_softmax(student, dim=-1).numpy()
    expected = [-log_q[row, place, text.tokens[row, place + 1]] for row in range(2) for place in (1, 2, 3)]
    assert sequence_likelihood(student, text).item() == pytest.approx(np.mean(expected), rel=1e-6)
    assert sequence_likelihood(student, text, reduction="sum").item() == pytest.approx(np.sum(expected), rel=1e-6)
    teacher = torch.zeros_like(student)
    mean = token_divergence(student[:, 1:4], teacher[:, 1:4], Divergence("reverse"))
    assert on_policy(student, teacher, text).item() == pytest.approx(mean.item(), rel=1e-6)


@pytest.mark.parametrize("kind", ["sequence-level", "on-policy"])
def test_a_student_learns_to_write_as_its_teacher_does(kind: str) -> None:
    torch.manual_seed(0)
    teacher, student = counting().requires_grad_(False), Bigrams(torch.zeros(VOCABULARY, VOCABULARY))
    optimizer = torch.optim.Adam(student.parameters(), lr=0.2)
    for step in range(60):
        if kind == "on-policy":
            text = written(student, PROMPTS, MASK, count=8, drawn=Drawn(seed=step))
            loss = on_policy(student(text.tokens, text.attention), teacher(text.tokens, text.attention), text)
        else:
            text = written(teacher, PROMPTS, MASK, count=8)
            loss = sequence_likelihood(student(text.tokens, text.attention), text)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert written(student, PROMPTS, MASK, count=6).tokens.tolist() == written(teacher, PROMPTS, MASK, count=6).tokens.tolist()
