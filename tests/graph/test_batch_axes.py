"""Which axis counts samples: by name, by a shared symbol, by place, or none."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.graph.batch_axes import batch_axes, rows
from edgeopt.graph.signature import Signature, TensorSpec

Shape = tuple[int | str, ...]


def axes(*shapes: Shape) -> list[int | None]:
    names = [f"i{number}" for number in range(len(shapes))]
    found = batch_axes(
        Signature(tuple(TensorSpec(name, "float32", shape) for name, shape in zip(names, shapes, strict=True)), ())
    )
    return [found[name] for name in names]


@pytest.mark.parametrize(
    ("shapes", "wanted"),
    [
        ([("batch", 3, "height", "width")], [0]),
        ([(10, "b", 6), (1, "b", 8)], [1, 1]),
        ([("seq", "batch_size", 6), (2, "batch_size", 8), ()], [1, 1, None]),
        ([("t", 16), (1, 32)], [None, None]),
        ([("num_frames", 80), (4, 1, 256)], [None, None]),
        ([("n", 16), (1, 32), ()], [0, None, None]),
        ([("b", "n", 3), ("n", 3)], [0, None]),
        ([("s18", "s52"), ("s43", "s52")], [0, 0]),
        ([("s18", 7), (2, "s18", 64)], [0, 1]),
        ([("batch", "s"), ("?", "?")], [0, 0]),
        ([("?", "?"), (2, "?", 128), ()], [0, 1, None]),
        ([("?", 3, "?", "?")], [0]),
        ([(1, 3, 8, 8)], [0]),
        ([(1, 16), (1, 32)], [0, 0]),
        ([(1, "sequence"), (2, 1, 64)], [0, None]),
        ([(4, 16), (4,)], [0, 0]),
        ([(5, 1), (2, 5)], [None, None]),
        ([()], [None]),
        ([(16000,)], [None]),
        ([(0, 8)], [None]),
    ],
)
def test_the_axis_of_each_input(shapes: list[Shape], wanted: list[int | None]) -> None:
    assert axes(*shapes) == wanted


def test_rows_are_counted_along_the_batch_axis_only() -> None:
    recurrent = {"x": np.zeros((10, 4, 6)), "h0": np.zeros((1, 4, 8)), "rate": np.zeros(())}
    assert rows(recurrent, {"x": 1, "h0": 1, "rate": None}) == 4
    assert rows(recurrent, {"x": None, "h0": None, "rate": None}) == 1


def test_an_axis_beside_the_batch_in_an_output_counts_something_else() -> None:
    def found(first: str, second: str) -> dict[str, int | None]:
        tensors = [TensorSpec("x", "float32", (first, 8)), TensorSpec("z", "float32", (second, 8))]
        return batch_axes(Signature(tuple(tensors), (TensorSpec("y", "float32", (second, first)),)))

    assert found("n", "m") == found("p", "q") == {"x": 0, "z": None}
    assert found("n", "n") == {"x": 0, "z": 0}
