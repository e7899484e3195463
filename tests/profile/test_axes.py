"""Samples of another size."""

from __future__ import annotations

import numpy as np

from edgeopt.graph.signature import Signature, TensorSpec
from edgeopt.profile.axes import batch_axis, free_axes, resize

_DECODER = Signature(
    inputs=(
        TensorSpec("ids", "int64", ("batch", "sequence")),
        TensorSpec("mask", "int64", ("batch", "past_sequence + sequence")),
        TensorSpec("past", "float32", ("batch", 2, "past_sequence", 4)),
    ),
    outputs=(),
)
_PROMPT = {"ids": np.array([[7, 8, 9]]), "mask": np.ones((1, 3), np.int64), "past": np.zeros((1, 2, 0, 4), np.float32)}


def test_free_axes_are_names_not_sums() -> None:
    assert free_axes(_DECODER) == ["batch", "sequence", "past_sequence"]
    assert batch_axis(_DECODER) == "batch"
    assert batch_axis(Signature((TensorSpec("x", "float32", (1, 3)),), ())) is None


def test_a_sample_is_cropped_or_repeated_along_every_input_that_has_the_axis() -> None:
    longer = resize(_PROMPT, _DECODER, {"sequence": 5})
    assert longer["ids"].tolist() == [[7, 8, 9, 7, 8]] and longer["mask"].shape == (1, 5) and longer["past"].shape[2] == 0
    shorter = resize(_PROMPT, _DECODER, {"sequence": 1, "past_sequence": 6, "batch": 2})
    assert [shorter[name].shape for name in ("ids", "mask", "past")] == [(2, 1), (2, 7), (2, 2, 6, 4)]
    assert shorter["past"].dtype == np.float32
    assert resize(_PROMPT, _DECODER, {})["ids"] is _PROMPT["ids"]
