"""Parts of the loss over texts that the models write."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeopt.data.samples import Samples
from edgeopt.errors import DataError
from edgeopt.tasks.language_model import LanguageModel
from edgeopt.train.config import DistillLoss, TrainOptions
from edgeopt.train.loop import Session
from edgeopt.train.objective import TrainBatch
from edgeopt.train.task_loss import subject_of
from edgeopt.train.teach import Lesson, teach
from edgeopt.train.written_text import WrittenText

VOCABULARY = 6


class Bigrams(nn.Module):
    """A decoder whose next token depends on the last one alone."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = nn.Parameter(table)
        self.drop = nn.Dropout(0.0)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        return {"logits": self.drop(self.table[input_ids]) if self.training else self.table[input_ids]}


def counting() -> Bigrams:
    """Return a model that says 1 after 0, 2 after 1, and so on."""
    return Bigrams(8.0 * torch.roll(torch.eye(VOCABULARY), 1, dims=1))


def ignorant() -> Bigrams:
    return Bigrams(torch.zeros(VOCABULARY, VOCABULARY))


def parts(teacher: nn.Module, **options: object) -> WrittenText:
    known = DistillLoss.read({"prompt_tokens": 2, "written_tokens": 3, **options}, where="test")
    return WrittenText(teacher, LanguageModel().call, known)


IDS = torch.tensor([[0, 1, 4, 4], [2, 0, 0, 0], [0, 0, 3, 4]])
MASK = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0], [0, 0, 1, 1]])
BATCH = TrainBatch({"input_ids": IDS, "attention_mask": MASK}, (0, 1, 2))
WRITTEN = [[0, 1, 2, 3, 4], [0, 2, 3, 4, 5], [3, 4, 5, 0, 1]]
"""What `counting` writes behind the first two tokens: of the second sample behind its only one, padded on the left."""


def test_the_student_learns_what_the_teacher_writes_behind_the_first_tokens() -> None:
    torch.manual_seed(0)
    student = Bigrams(torch.randn(VOCABULARY, VOCABULARY)).eval()
    text = parts(counting(), sequence_weight=1.0)
    expected = sum(
        float(F.cross_entropy(student.table.detach()[row[place]], torch.tensor(row[place + 1])))
        for row in WRITTEN
        for place in (1, 2, 3)
    )
    assert text.count(BATCH) == 9
    assert float(text.sums(student, BATCH)["sequence"].detach()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("soft", ["kl", "js", "skew"])
def test_models_that_agree_have_no_loss_on_what_the_student_writes(soft: str) -> None:
    text = parts(counting(), on_policy_weight=1.0, soft=soft)
    assert float(text.sums(counting().eval(), BATCH)["on_policy"].detach()) == pytest.approx(0.0, abs=1e-4)
    assert float(text.sums(ignorant().eval(), BATCH)["on_policy"].detach()) > 1.0


def test_writing_leaves_every_module_in_its_mode_and_the_teacher_without_gradients() -> None:
    teacher, student = counting().requires_grad_(requires_grad=False), ignorant().train()
    student.drop.eval()
    found = parts(teacher, sequence_weight=1.0, on_policy_weight=1.0).sums(student, BATCH)
    torch.stack(list(found.values())).sum().backward()
    assert student.training and not student.drop.training
    assert student.table.grad is not None and teacher.table.grad is None


def test_what_is_drawn_follows_the_random_state() -> None:
    text, table = parts(counting(), on_policy_weight=1.0), torch.randn(VOCABULARY, VOCABULARY)
    values = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        values.append(float(text.sums(Bigrams(table).eval(), BATCH)["on_policy"].detach()))
    assert values[0] == values[1] != values[2]


def test_samples_without_tokens_are_refused() -> None:
    with pytest.raises(DataError, match="need samples with input_ids; these have image"):
        parts(counting(), sequence_weight=1.0).sums(ignorant(), TrainBatch({"image": torch.zeros(1, 3)}, (0,)))


@pytest.mark.parametrize("part", ["sequence", "on_policy"])
def test_a_lesson_with_written_text_teaches(part: str) -> None:
    rows = np.random.default_rng(0).integers(0, VOCABULARY, (32, 4))
    mask = np.ones(4, np.int64)
    samples = Samples(32, lambda index: {"input_ids": rows[index], "attention_mask": mask}, None, "x")
    loss = DistillLoss.read({f"{part}_weight": 1.0, "prompt_tokens": 2, "written_tokens": 4, "soft_weight": 1.0}, where="test")
    train = TrainOptions(epochs=6.0, batch_size=8, learning_rate=0.2, precision="no")
    student, teacher = ignorant(), counting()
    before = copy.deepcopy(teacher.state_dict())
    result = teach(
        student, teacher, samples, lesson=Lesson(loss, train, subject=subject_of(LanguageModel())), session=Session(0)
    )
    first, last = (result.history[place].parts[part] for place in (0, -1))
    assert last < 0.5 * first, f"{part}: {first:.3f} in the first epoch, {last:.3f} in the last one"
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    follows = student.table.argmax(dim=1).tolist()
    assert follows == [1, 2, 3, 4, 5, 0]
