"""Batches of a profile: there must be some, and they must fit."""

import numpy as np
import pytest

from edgeopt.errors import DataError
from edgeopt.graph.signature import Signature, TensorSpec
from edgeopt.profile.inputs import check_batches, shapes_of, take_batches

SIGNATURE = Signature(inputs=(TensorSpec("x", "float32", ("n", 3)),), outputs=())


def batch(rows: int = 2, *, width: int = 3, dtype=np.float32, name: str = "x"):
    return {name: np.zeros((rows, width), dtype)}


def test_the_first_batches_are_taken_and_no_more_are_read():
    def endless():
        while True:
            yield batch()

    assert len(take_batches(endless(), most=3)) == 3


def test_no_batch_is_an_error():
    with pytest.raises(DataError, match="no input batches"):
        take_batches([], most=3)


def test_shapes_are_listed_once_in_their_order():
    assert shapes_of([batch(2), batch(1), batch(2)]) == {"x": ["float32 [2, 3]", "float32 [1, 3]"]}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (batch(name="z"), r"batch 1 has inputs \['z'\], but net takes \['x'\]"),
        (batch(dtype=np.float64), r"batch 1, input 'x' of net: dtype float64, expected float32"),
        (batch(width=4), r"batch 1, input 'x' of net: shape \[2, 4\], expected \['n', 3\]"),
    ],
)
def test_a_batch_that_does_not_fit_is_named(wrong, message):
    check_batches([batch(), batch(5)], SIGNATURE, model="net")
    with pytest.raises(DataError, match=message):
        check_batches([batch(), wrong], SIGNATURE, model="net")


def test_a_model_without_inputs_has_nothing_to_measure():
    with pytest.raises(DataError, match="net takes no inputs"):
        check_batches([{}], Signature(inputs=(), outputs=()), model="net")
