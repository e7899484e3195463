"""Students of other tasks than classification learn through the same loop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from torch import nn

from edgeopt.data.samples import Samples, from_arrays
from edgeopt.tasks.registry import find_task
from edgeopt.train.config import DistillLoss, TrainOptions
from edgeopt.train.loop import Session
from edgeopt.train.task_loss import evaluator, subject_of
from edgeopt.train.teach import Lesson, teach

_SIZES = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 40}
_TRAIN = TrainOptions(epochs=4.0, learning_rate=5e-3, precision="no")


def samples(count: int = 160) -> Samples:
    ids = np.random.default_rng(0).integers(1, 40, (count, 8))
    return from_arrays({"input_ids": ids, "attention_mask": np.ones_like(ids)})


def models(kind: type[nn.Module], **more: object) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    teacher = kind(transformers.BertConfig(num_hidden_layers=2, num_labels=3, **_SIZES, **more))
    for parameter in teacher.parameters():
        parameter.data *= 3  # so that its answers differ
    return teacher.eval(), kind(transformers.BertConfig(num_hidden_layers=1, num_labels=3, **_SIZES, **more))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("token-classification", transformers.BertForTokenClassification),
        ("multi-label-classification", transformers.BertForSequenceClassification),
        ("regression", transformers.BertForSequenceClassification),
        ("sentence-embeddings", transformers.BertModel),
        ("text-generation", transformers.BertLMHeadModel),
    ],
)
def test_a_student_without_labels_comes_closer_to_its_teacher(name: str, kind: type[nn.Module]) -> None:
    more = {"is_decoder": True} if name == "text-generation" else {}
    teacher, student = models(kind, **more)
    lesson = Lesson(DistillLoss(soft_weight=1.0, temperature=1.0), _TRAIN, subject=subject_of(find_task(name)))
    result = teach(student, teacher, samples(), lesson=lesson, session=Session(0))
    first, last = result.history[0].loss, result.history[-1].loss
    assert last < 0.9 * first, f"{name}: {first:.4f} → {last:.4f}"


def test_tags_are_learned_with_hard_and_soft_labels_and_scored() -> None:
    teacher, student = models(transformers.BertForTokenClassification)
    plain = samples()
    tags = [[int(token > 20) for token in plain[index]["input_ids"]] for index in range(len(plain))]
    labelled = replace(plain, annotations=[np.array(row) for row in tags])
    task = find_task("token-classification")
    lesson = Lesson(DistillLoss(soft_weight=0.1), _TRAIN.model_copy(update={"epochs": 8.0}), subject=subject_of(task))
    before = evaluator(task, labelled)(student.eval()).value
    result = teach(student, teacher, labelled, lesson=lesson, session=Session(0))
    assert set(result.history[-1].parts) == {"hard", "soft"}
    assert result.history[-1].parts["hard"] < 0.6 * result.history[0].parts["hard"]
    after = evaluator(task, labelled)(student).value
    assert after > max(0.8, before), f"{before:.3f} → {after:.3f}"
