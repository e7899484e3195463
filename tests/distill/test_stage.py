"""The stage: students of every kind learn, controls and seeds are scored, what does not fit is named."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from edgeopt.data.samples import Samples, from_arrays
from edgeopt.distill.config import DistillOptions
from edgeopt.distill.stage import Material, distill
from edgeopt.errors import DataError, ModelError, RecipeError
from edgeopt.models.kept import narrow
from edgeopt.models.load import LoadedModel, Origin, load_model
from edgeopt.models.residual_cnn import ResidualCNN
from edgeopt.models.save import save_model
from edgeopt.train.config import DistillLoss, TrainOptions
from edgeopt.train.loop import Session, fit
from edgeopt.train.supervised import ClassLoss, Supervised


def sentences(count: int, seed: int) -> Samples:
    """Texts of good words (20 to 29) and bad ones (30 to 39) among others; the class is which of them are more."""
    generator = np.random.default_rng(seed)
    ids = generator.integers(4, 20, (count, 9))
    marks = generator.integers(20, 40, (count, 3))
    ids[:, [1, 4, 7]] = marks
    labels = ((marks < 30).sum(axis=1) >= 2).astype(np.int64)
    return from_arrays({"input_ids": ids, "attention_mask": np.ones_like(ids)}, labels)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 64}
    config = transformers.BertConfig(vocab_size=40, num_labels=2, hidden_dropout_prob=0.0, **sizes)
    module = transformers.BertForSequenceClassification(config)
    data = sentences(800, 0)
    objective = Supervised(ClassLoss(torch.from_numpy(data.labels)))
    fit(module, data, objective, options=TrainOptions(epochs=6.0, learning_rate=3e-3, precision="no"), session=Session())
    folder = tmp_path_factory.mktemp("teacher")
    module.save_pretrained(folder)
    return load_model(folder, task="text-classification")


_TRAIN = TrainOptions(epochs=3.0, learning_rate=3e-3, precision="no")


@pytest.mark.parametrize(
    "student",
    [
        {"layers": [1, 3]},
        {"layer_count": 2, "layer_choice": "similarity"},
        {"layer_count": 1, "layer_choice": "last"},
        {"width": 16},
        {"layers": [1, 3], "width": 16},
    ],
    ids=["layers", "similarity", "last", "width", "both"],
)
def test_every_kind_of_student_learns(tmp_path: Path, teacher: LoadedModel, student: dict[str, object]) -> None:
    before = {name: tensor.clone() for name, tensor in teacher.module.state_dict().items()}
    loss = DistillLoss(temperature=2.0, hidden_weight=0.5, relation_weight=0.1)
    options = DistillOptions(train=_TRAIN, loss=loss, **student)  # type: ignore[arg-type]
    material = Material(sentences(200, 2))
    result = distill(teacher, sentences(400, 1), output=tmp_path / "student", options=options, material=material)
    assert result.teacher_score is not None
    assert max(evaluation.value for evaluation in result.evaluations) > 0.88
    assert result.student.parameters < result.teacher.parameters
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.module.state_dict().items())
    again = load_model(tmp_path / "student").module.config
    assert again.hidden_size == student.get("width", 32)
    assert again.num_hidden_layers < 4 or "layers" not in student


_CNN = "edgeopt.models.residual_cnn:ResidualCNN"
_KEPT = {"blocks.0.conv1": {"out": [0, 2, 5]}, "blocks.0.norm1": {"out": [0, 2, 5]}, "blocks.0.conv2": {"in": [0, 2, 5]}}


def test_a_folder_is_a_student_that_goes_on_from_its_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    pruned = Origin(_CNN, {"width": 8}, kept=_KEPT)
    module = ResidualCNN(width=8).eval()
    images = from_arrays({"image": np.random.default_rng(0).normal(size=(32, 1, 8, 8)).astype(np.float32)})
    teacher = LoadedModel(module, "image-classification", None, origin=Origin(_CNN, {"width": 8}))
    narrow(smaller := copy.deepcopy(module), pruned.kept)
    save_model(smaller, tmp_path / "smaller", origin=pruned)
    train = TrainOptions(epochs=1.0, batch_size=32, learning_rate=1e-9)
    options = DistillOptions(source=str(tmp_path / "smaller"), train=train)
    result = distill(teacher, images, output=tmp_path / "student", options=options)
    again = load_model(tmp_path / "student")
    assert result.student.parameters == sum(one.numel() for one in smaller.parameters()) < result.teacher.parameters
    assert again.origin is not None and again.origin.kept == pruned.kept and again.task == "image-classification"
    assert torch.allclose(again.module.head.weight, smaller.head.weight, atol=1e-6)  # type: ignore[union-attr, arg-type]


def test_the_control_and_the_spread_over_seeds_are_reported(tmp_path: Path, teacher: LoadedModel) -> None:
    options = DistillOptions(layers=[3], train=_TRAIN.model_copy(update={"epochs": 1.0}), control=True, seeds=2)
    material = Material(sentences(100, 2))
    result = distill(teacher, sentences(200, 1), output=tmp_path / "student", options=options, material=material)
    assert [(trial.kind, trial.seed) for trial in result.trials] == [
        ("distilled", 0),
        ("control", 0),
        ("distilled", 1),
        ("control", 1),
    ]
    assert all(0 <= trial.value <= 1 for trial in result.trials)
    with pytest.raises(DataError, match="give evaluation samples with labels"):
        distill(teacher, sentences(200, 1), output=tmp_path / "student", options=options)


def test_label_free_distillation_needs_no_option(tmp_path: Path, teacher: LoadedModel) -> None:
    labelled = sentences(400, 1)
    samples = Samples(len(labelled), labelled.read, None, "unlabelled")
    options = DistillOptions(layers=[1, 3], train=_TRAIN)
    result = distill(teacher, samples, output=tmp_path / "student", options=options, material=Material(sentences(200, 2)))
    assert set(result.history[-1].parts) == {"soft", "hidden"}
    assert result.evaluations[-1].value > 0.88


def test_what_does_not_fit_is_named(tmp_path: Path, teacher: LoadedModel) -> None:
    samples = sentences(40, 1)
    with pytest.raises(DataError, match="has no samples"):
        distill(teacher, samples.take([]), output=tmp_path / "s", options=DistillOptions(layers=[1]))
    with pytest.raises(RecipeError, match=r"distill\.layer_count is 9: the teacher has 4 layers"):
        distill(teacher, samples, output=tmp_path / "s", options=DistillOptions(layer_count=9))
    for part in ("sequence_weight", "on_policy_weight"):
        writes = DistillOptions(layers=[1], loss=DistillLoss.read({part: 0.5}, where="test"))
        with pytest.raises(RecipeError, match="are for language models \\(text-generation\\), not for single-label"):
            distill(teacher, samples, output=tmp_path / "s", options=writes)
    many = Samples(40, samples.read, samples.labels * 5, "many")
    with pytest.raises(DataError, match="labels from 0 to 5 are impossible for a model of 2 classes"):
        distill(teacher, many, output=tmp_path / "s", options=DistillOptions(layers=[1]))
    with pytest.raises(RecipeError, match="give either source"):
        DistillOptions.read({"source": "a:b", "width": 16}, where="test")
    three = transformers.BertForSequenceClassification(
        transformers.BertConfig(
            vocab_size=40, num_labels=3, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
        )
    )
    other = LoadedModel(three.eval(), "text-classification", None)
    assert other.module.config.num_labels == 3
    with pytest.raises(ModelError, match="has no layers to choose from"):
        distill(
            LoadedModel(torch.nn.Embedding(40, 2), None, None),
            samples,
            output=tmp_path / "s",
            options=DistillOptions(layers=[0]),
        )
