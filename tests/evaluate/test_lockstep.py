"""Several models over the same samples: order, batches, errors, and the task that fits their outputs."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.batches import Batch
from edgeopt.data.outputs import Outputs, Run, Runnable
from edgeopt.data.samples import Samples, from_arrays
from edgeopt.errors import DataError
from edgeopt.evaluate.lockstep import evaluate_together, usable
from edgeopt.tasks.outputs_only import OutputsOnly
from edgeopt.tasks.single_label import SingleLabel


def ragged(lengths: list[int]) -> Samples:
    rows = [np.full(length, float(length), np.float32) for length in lengths]
    return Samples(len(rows), lambda index: {"x": rows[index]}, None, "digest", pad={"x": 99.0})


def first_value(batch: Batch) -> Outputs:
    return {"y": batch["x"][:, :1] + np.arange(2)}


def runnable(samples: Samples, run: Run = first_value, *, size: int = 4) -> Runnable:
    return Runnable("model", run, samples, size)


class First(OutputsOnly):
    def answer(self, outputs: Outputs, sample: Batch, about: object = None) -> float:
        return float(outputs["y"][0])


def test_answers_come_in_the_order_of_the_samples_whatever_the_batches() -> None:
    samples = ragged([3, 1, 4, 1, 5])
    found = evaluate_together([runnable(samples, size=3), runnable(samples, size=1)], First(), [None, 0])
    assert found[0].answers == found[1].answers == [3.0, 1.0, 4.0, 1.0, 5.0]
    assert found[1].errors["y"].relative == 0.0
    assert found[1].errors["y"].values == 10


def test_outputs_that_follow_the_length_are_never_padded() -> None:
    seen: list[np.ndarray] = []

    def twice(batch: Batch) -> Outputs:
        seen.append(batch["x"])
        return {"y": batch["x"] * 2}

    evaluate_together([runnable(ragged([3, 1, 3, 2, 1]), twice)], OutputsOnly(), [None])
    assert not any((batch == 99.0).any() for batch in seen)
    assert sorted(batch.shape for batch in seen[2:]) == [(1, 2), (2, 1), (2, 3)]


def test_a_task_that_does_not_fit_unlabelled_outputs_gives_way_to_the_outputs() -> None:
    samples = from_arrays({"x": np.zeros((3, 2), np.float32)})

    def detect(batch: Batch) -> Outputs:
        return {"boxes": np.zeros((len(batch["x"]), 5, 4)), "scores": np.zeros((len(batch["x"]), 5, 2))}

    assert isinstance(usable(SingleLabel(), [runnable(samples, detect)]), OutputsOnly)
    assert isinstance(usable(SingleLabel(), [runnable(samples)]), SingleLabel)


def test_samples_whose_outputs_have_another_shape_are_counted() -> None:
    samples = from_arrays({"x": np.zeros((3, 2), np.float32)})

    def boxes(*counts: int) -> Run:
        left = list(counts)
        return lambda batch: {"boxes": np.ones((1, left.pop(0), 4))}

    models = [Runnable("float", boxes(2, 1, 3), samples, 1), Runnable("int8", boxes(2, 2, 1), samples, 1)]
    (base, other) = evaluate_together(models, OutputsOnly(), [None, 0])
    assert not base.left_out
    assert other.unlike == {"boxes": 2}
    assert "'boxes' has another shape than the other model's for 2 of 3 samples" in other.left_out[0]
    assert other.errors["boxes"].values == 8


def test_no_samples_are_an_error() -> None:
    with pytest.raises(DataError, match="no samples"):
        evaluate_together([runnable(from_arrays({"x": np.zeros((0, 2), np.float32)}))], SingleLabel(), [None])
