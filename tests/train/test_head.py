"""Which head labelled samples need, and which a model has."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgeopt.data.samples import Samples, from_arrays
from edgeopt.errors import DataError
from edgeopt.tasks.single_label import SingleLabel
from edgeopt.train.head import Head, described, fits, head_for, missing_head, reading_task


def texts(labels: list[int] | None, names: tuple[str, ...] = ()) -> Samples:
    ids = np.ones((4, 3), np.int64)
    found = from_arrays({"input_ids": ids}, None if labels is None else np.array(labels))
    return replace(found, names=names)


def tagged() -> Samples:
    return replace(texts(None), annotations=[np.array([0, 2, 1])] * 4)


@pytest.mark.parametrize(
    ("samples", "own", "names", "missing"),
    [
        (texts([0, 1, 0, 1]), "text-classification", ("LABEL_0", "LABEL_1"), None),
        (texts([0, 1, 0, 1]), "text-classification", ("bad", "fair", "good"), None),  # classes that no sample has
        (texts([0, 1, 2, 1]), "text-classification", ("bad", "good"), Head("text-classification", ("0", "1", "2"))),
        (texts([0, 1, 0, 1], ("Not-Bad", "good")), "text-classification", ("good", "not bad"), None),
        (
            texts([0, 1, 0, 1], ("ham", "spam")),
            "text-classification",
            ("bad", "good"),
            Head("text-classification", ("ham", "spam")),
        ),
        (texts([0, 1, 0, 1]), "feature-extraction", (), Head("text-classification", ("0", "1"))),
        (texts([0, 1, 0, 1]), "fill-mask", ("LABEL_0", "LABEL_1"), Head("text-classification", ("0", "1"))),
        (tagged(), "text-classification", ("bad", "good"), Head("token-classification", ("0", "1", "2"))),
        (replace(texts(None), annotations=[0.5] * 4), "text-classification", ("LABEL_0",), None),
        (replace(texts(None), annotations=[0.5] * 4), "feature-extraction", (), None),
    ],
)
def test_a_head_is_missing_for_another_task_or_other_classes(
    samples: Samples, own: str, names: tuple[str, ...], missing: Head | None
) -> None:
    assert missing_head(samples, None, own, names) == missing


def test_the_task_that_is_asked_for_decides() -> None:
    scores = replace(texts(None), annotations=[0.5] * 4)
    assert missing_head(scores, "regression", "feature-extraction", ()) == Head("text-classification", ("value",))
    assert missing_head(texts([0, 1, 0, 1]), "text-classification", "text-classification", ("a", "b")) is None


def test_inputs_say_which_kind_of_classifier() -> None:
    images = from_arrays({"pixel_values": np.zeros((2, 3, 4, 4), np.float32)}, np.array([0, 1]))
    assert head_for(SingleLabel(), images) == Head("image-classification", ("0", "1"))
    assert head_for(SingleLabel(), from_arrays({"x": np.zeros((2, 3), np.float32)}, np.array([0, 1]))) is None
    with pytest.raises(DataError, match="no labels"):
        head_for(SingleLabel(), texts(None))
    assert fits(Head("text-classification", ("a",)), Head("text-classification"))
    assert described("text-classification", ("bad", "good")) == "text-classification with 2 classes (bad, good)"
    assert (reading_task(None, "fill-mask"), reading_task("ner", "fill-mask"), reading_task(None, "ner")) == (
        None,
        "ner",
        "ner",
    )
    assert described("feature-extraction") == "feature-extraction"
