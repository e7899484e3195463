"""Samples through anything that takes batches: outputs come back in the order of the samples, without padding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgeopt.batches import Batch
from edgeopt.data.outputs import Outputs, collect
from edgeopt.data.samples import Layout, Samples, from_arrays


def ragged(lengths: list[int]) -> Samples:
    rows = [np.arange(length, dtype=np.float32) + 100 * number for number, length in enumerate(lengths)]
    return Samples(len(rows), lambda index: {"x": rows[index]}, None, "digest")


def test_batches_by_length_come_back_in_the_order_of_the_samples() -> None:
    seen: list[int] = []

    def first(batch: Batch) -> Outputs:
        seen.append(batch["x"].shape[1])
        return {"first": batch["x"][:, 0]}

    found = collect(first, ragged([9, 2, 7, 2, 5]), batch_size=2, name="first")
    assert found["first"].tolist() == [0.0, 100.0, 200.0, 300.0, 400.0]
    assert seen[-3:] == sorted(seen[-3:])


def test_positions_are_put_under_each_other_and_hold_no_padding() -> None:
    def twice(batch: Batch) -> Outputs:
        return {"y": np.stack([batch["x"], -batch["x"]], axis=-1)}

    found = collect(twice, ragged([3, 1, 2]), batch_size=2, name="twice")["y"]
    assert found[:, 0].tolist() == [0, 1, 2, 100, 200, 201]
    assert (found[:, 1] == -found[:, 0]).all()


def test_samples_of_one_shape_go_in_full_batches() -> None:
    sizes: list[int] = []

    def count(batch: Batch) -> Outputs:
        sizes.append(len(batch["x"]))
        return {"y": batch["x"].sum(axis=1)}

    found = collect(count, from_arrays({"x": np.ones((5, 3), np.float32)}), batch_size=2, name="count")
    assert found["y"].tolist() == [3.0] * 5
    assert sizes[-3:] == [2, 2, 1]


def test_an_output_without_axes_is_one_number_per_batch() -> None:
    def run(batch: Batch) -> Outputs:
        return {"sum": batch["x"].sum(axis=1), "loss": np.asarray(batch["x"].mean())}

    samples = from_arrays({"x": np.arange(6, dtype=np.float32).reshape(3, 2)})
    found = collect(run, samples, batch_size=2, name="m")
    assert found["sum"].tolist() == [1, 5, 9]
    assert found["loss"].tolist() == [1.5, 4.5]
    fixed = collect(run, replace(samples, layout=Layout({"x": 0}, 2)), batch_size=2, name="m")
    assert fixed["sum"].tolist() == [1, 5, 9]
