from __future__ import annotations

from itertools import islice

import numpy as np

from edgeopt.graph.signature import Signature, TensorSpec
from edgeopt.quantize.training.samples import epochs, split, stackable

_FREE = Signature((TensorSpec("x", "float32", ("batch", 3)), TensorSpec("h", "float32", (1, "batch", 2))), ())


def _sample(number: int) -> dict[str, np.ndarray]:
    return {"x": np.full((1, 3), number, np.float32), "h": np.full((1, 1, 2), number, np.float32)}


def test_a_tenth_is_held_aside_and_never_trained_on() -> None:
    parts = split([_sample(number) for number in range(40)], seed=0)
    held = {int(sample["x"][0, 0]) for sample in parts.held}
    trained = {int(sample["x"][0, 0]) for sample in parts.training}
    assert len(held) == 4 and held | trained == set(range(40)) and not held & trained
    alone = split([_sample(1)], seed=0)  # of one sample there is no other
    assert len(alone.held) == len(alone.training) == 1


def test_samples_are_stacked_along_the_axis_of_each_input() -> None:
    axes = stackable(_FREE)
    assert axes == {"x": 0, "h": 1}
    batches = list(islice(epochs([_sample(number) for number in range(5)], axes, 3, seed=0), 2))
    assert sorted(count for _, count in batches) == [2, 3]
    for batch, count in batches:
        assert batch["x"].shape == (count, 3) and batch["h"].shape == (1, count, 2)
        np.testing.assert_array_equal(batch["x"][:, 0], batch["h"][0, :, 0])
    seen = np.concatenate([batch["x"][:, 0] for batch, _ in batches])
    assert sorted(seen.tolist()) == [0, 1, 2, 3, 4]


def test_ragged_samples_are_stacked_with_others_of_their_shape() -> None:
    signature = Signature((TensorSpec("ids", "int64", ("batch", "tokens")),), ())
    samples = [{"ids": np.zeros((1, 2 + number % 2), np.int64)} for number in range(6)]
    batches = list(islice(epochs(samples, stackable(signature), 8, seed=0), 2))
    assert sorted(batch["ids"].shape for batch, _ in batches) == [(3, 2), (3, 3)]


def test_a_fixed_batch_axis_is_not_stacked() -> None:
    assert stackable(Signature((TensorSpec("x", "float32", (1, 3)),), ())) is None
