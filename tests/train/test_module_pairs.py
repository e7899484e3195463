"""Inner parts of the loss: pairs, projections, counts; a student that is its teacher has none to lose."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers
from torch import nn

from edgeopt.errors import ModelError, RecipeError
from edgeopt.models.call import named_outputs
from edgeopt.train.config import DistillLoss, FeaturePair
from edgeopt.train.module_pairs import inner_of, matched
from edgeopt.train.objective import TrainBatch
from edgeopt.train.teachers import run

_IDS = torch.arange(12).reshape(2, 6)
_MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]])
_BATCH = TrainBatch({"input_ids": _IDS, "attention_mask": _MASK}, (0, 1))
_SAMPLE = {"input_ids": _IDS.numpy(), "attention_mask": _MASK.numpy()}
_ALL = DistillLoss(hidden_weight=1.0, relation_weight=1.0, attention_weight=1.0)


def bert(width: int = 16, layers: int = 4, heads: int = 2) -> nn.Module:
    torch.manual_seed(width)
    config = transformers.BertConfig(
        vocab_size=30,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=24,
        num_labels=3,
    )
    return transformers.BertForSequenceClassification(config).eval()


def sums(student: nn.Module, teacher: nn.Module, options: DistillLoss) -> dict[str, float]:
    inner = inner_of(student, teacher, options, None, _SAMPLE)
    assert inner is not None
    ours = run(student, named_outputs, _BATCH.inputs, inner.student_modules)
    theirs = run(teacher, named_outputs, _BATCH.inputs, inner.teacher_modules)
    return {name: float(value.detach()) for name, value in inner.sums(ours.recorded, theirs.recorded, _BATCH).items()}


def test_a_model_agrees_with_itself() -> None:
    model = bert()
    assert sums(model, model, _ALL) == pytest.approx({"hidden": 0.0, "relations": 0.0, "attention": 0.0}, abs=1e-5)


def test_attention_maps_are_those_of_the_model() -> None:
    """Maps from recorded queries and keys are what eager attention computes."""
    from edgeopt.train.module_pairs import _maps

    model = bert()
    model.set_attn_implementation("eager")
    names = [f"bert.encoder.layer.0.attention.self.{part}" for part in ("query", "key")]
    said = run(model, lambda one, inputs: {"logits": one(**inputs).logits}, _BATCH.inputs, names)
    maps = _maps([said.recorded[name] for name in names], 2, _MASK)[0]
    wanted = model(**_BATCH.inputs, output_attentions=True).attentions[0]
    assert torch.allclose(maps, wanted, atol=1e-6)


def test_narrower_students_are_projected_and_have_other_heads() -> None:
    student, teacher = bert(8, 2, 1), bert(16, 4, 2)
    found = sums(student, teacher, _ALL)
    assert all(np.isfinite(value) and value > 0 for value in found.values())
    inner = inner_of(student, teacher, _ALL, None, _SAMPLE)
    assert inner is not None
    assert inner.projections is not None
    assert inner.projections["hidden"].weight.shape == (16, 8)
    assert inner.modules["hidden"][1] == ("bert.encoder.layer.1", "bert.encoder.layer.3")
    assert inner.count("hidden", _BATCH) == 9.0


def test_layers_match_evenly_with_the_last_one_last() -> None:
    assert matched(3, 6, None) == [1, 3, 5]
    assert matched(2, 5, None) == [2, 4]
    assert matched(2, 6, [0, 5]) == [0, 5]


@pytest.mark.parametrize("kind", ["attention-transfer", "channelwise"])
def test_feature_maps_of_named_modules(kind: str) -> None:
    torch.manual_seed(0)
    student, teacher = (nn.Sequential(nn.Conv2d(3, width, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2)) for width in (4, 6))
    images = torch.randn(2, 3, 8, 8)
    student(images), teacher(images)
    options = DistillLoss.read(
        {"feature_weight": 1.0, "feature_kind": kind, "features": [{"student": "1", "teacher": "1"}]}, where="test"
    )
    inner = inner_of(student, teacher, options, None, {"input": images.numpy()})
    assert inner is not None
    batch = TrainBatch({"input": images}, (0, 1))
    said = [run(model, named_outputs, batch.inputs, ["1"]).recorded for model in (student, teacher)]
    loss = inner.sums(*said, batch)["features"]
    loss.backward()
    assert inner.count("features", batch) == 2.0
    assert student[0].weight.grad.abs().sum() > 0


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(RecipeError, match=r"feature_weight needs loss\.features"):
        inner_of(bert(), bert(), DistillLoss(feature_weight=1.0), None, _SAMPLE)
    with pytest.raises(RecipeError, match="relation_layer is 7: the teacher has layers 0 to 3"):
        inner_of(bert(), bert(), DistillLoss(relation_weight=1.0, relation_layer=7), None, _SAMPLE)
    pair = [FeaturePair(student="no", teacher="bert")]
    chosen = DistillLoss(feature_weight=1.0, feature_kind="channelwise", features=pair)
    with pytest.raises(ModelError, match="has no module 'no'"):
        inner_of(bert(), bert(), chosen, None, _SAMPLE)
