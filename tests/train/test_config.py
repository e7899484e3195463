"""What the options of training accept, and what they refuse."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from edgeopt.train.config import OPTIMIZERS, SCHEDULES, AdapterOptions, DistillLoss, ParameterGroup, TrainOptions


@pytest.mark.parametrize("option", ["schedule", "optimizer"])
def test_a_name_that_is_not_known_is_refused_with_those_that_are(option: str) -> None:
    names = {"schedule": SCHEDULES, "optimizer": OPTIMIZERS}[option]
    for name in (*names, "my_module:function"):
        assert getattr(TrainOptions.model_validate({option: name}), option) == name
    with pytest.raises(ValidationError, match=f"{option} 'stairs' is not known; choose {names[0]}, .*or module:callable"):
        TrainOptions.model_validate({option: "stairs"})


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (TrainOptions, {"epochs": 0}),
        (TrainOptions, {"batch_size": 0}),
        (TrainOptions, {"learning_rate": 0}),
        (TrainOptions, {"warmup": 1.0}),
        (TrainOptions, {"warmup": -0.1}),
        (TrainOptions, {"max_seconds": 0}),
        (TrainOptions, {"patience": 0}),
        (TrainOptions, {"teacher_cache_bytes": -1}),
        (TrainOptions, {"precision": "int8"}),
        (TrainOptions, {"epoch": 3}),
        (ParameterGroup, {}),
        (AdapterOptions, {"rank": 0}),
        (AdapterOptions, {"dropout": 1.0}),
        (DistillLoss, {"temperature": 0}),
        (DistillLoss, {"soft_weight": 1.1}),
        (DistillLoss, {"mix": 1.0}),
        (DistillLoss, {"top_classes": 0}),
    ],
)
def test_values_outside_their_range_are_refused(kind: type, values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        kind(**values)


def test_the_whole_of_a_recipes_table_is_read() -> None:
    table = {
        "epochs": 0.5,
        "groups": [{"match": "head", "learning_rate": 1e-3}],
        "adapter": {"rank": 4, "targets": ["query", "value"]},
        "freeze": ["embeddings"],
        "augment": "none",
    }
    options = TrainOptions.model_validate(table)
    assert options.groups[0].learning_rate == 1e-3 and options.groups[0].weight_decay is None
    assert options.adapter is not None and (options.adapter.rank, options.adapter.alpha) == (4, 16)
    assert options.augment == "none" and options.freeze == ["embeddings"] and options.epochs == 0.5


def test_the_largest_classes_are_for_plain_soft_labels() -> None:
    with pytest.raises(ValueError, match="top_classes is a form of soft = kl"):
        DistillLoss(soft="reverse", top_classes=4)
