"""What a model's signature says of its tensors: shapes that fit, types that numpy has."""

from __future__ import annotations

import pytest

from edgeopt.graph.signature import TensorSpec


@pytest.mark.parametrize(
    ("dtype", "array"),
    [("float32", True), ("int64", True), ("bool", True), ("float16", True), ("bfloat16", False), ("sequence", False)],
)
def test_only_types_of_numpy_are_arrays(dtype: str, array: bool) -> None:
    assert TensorSpec("x", dtype, (1,)).is_array is array


def test_shapes_are_written_as_messages_write_them() -> None:
    assert str(TensorSpec("x", "float32", ("batch", 3, "?"))) == "[batch, 3, ?]"


def test_a_shape_fits_where_its_sizes_agree() -> None:
    spec = TensorSpec("x", "float32", ("batch", 3))
    assert spec.fits((7, 3)) and not spec.fits((7, 4)) and not spec.fits((3,))
    unranked = TensorSpec("x", "float32", (), ranked=False)
    assert unranked.fits((1, 2, 3)) and str(unranked) == "any number of axes"
