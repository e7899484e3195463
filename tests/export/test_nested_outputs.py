from __future__ import annotations

import dataclasses
from typing import NamedTuple

import pytest
import torch

from edgeopt.errors import ModelError
from edgeopt.export.nested_outputs import arguments, left_out, named_tensors

A, B, C = (torch.full((1,), float(number)) for number in range(3))


class Pair(NamedTuple):
    left: object
    right: object


@dataclasses.dataclass
class Detection:
    boxes: torch.Tensor
    levels: list[torch.Tensor]
    note: str = "none"


@pytest.mark.parametrize(
    ("produced", "names"),
    [
        (A, ["output"]),
        ((A, None), ["output"]),
        ([A, B], ["output_0", "output_1"]),
        ((A, (B, C)), ["output_0", "output_1.0", "output_1.1"]),
        (Pair(A, {"deep": [B, C]}), ["left", "right.deep.0", "right.deep.1"]),
        ({"boxes": A, "features": (B, C)}, ["boxes", "features.0", "features.1"]),
        (Detection(A, [B, C]), ["boxes", "levels.0", "levels.1"]),
        ({"a": {"b": A}, "a.b": B}, ["a.b", "a.b_"]),
        ({3: A}, ["3"]),
    ],
)
def test_every_tensor_has_the_path_to_it_as_its_name(produced, names):
    assert list(named_tensors(produced)) == names


def test_the_outputs_of_transformers_are_flattened_with_their_tuples():
    from transformers.modeling_outputs import BaseModelOutput

    found = named_tensors(BaseModelOutput(last_hidden_state=A, hidden_states=(B, C)))
    assert {name: value.item() for name, value in found.items()} == {
        "last_hidden_state": 0,
        "hidden_states.0": 1,
        "hidden_states.1": 2,
    }


def test_what_is_no_tensor_is_told_and_none_is_nothing():
    assert left_out({"y": A, "count": 3, "cache": object(), "nothing": None}) == [
        "'count' (the Python value 3)",
        "'cache' (object)",
    ]
    assert left_out((A, (B, None))) == []
    with pytest.raises(ModelError, match="returns str; a tensor, or a tuple, dict or dataclass"):
        named_tensors("nothing")


def test_dotted_inputs_become_the_tuples_and_dicts_an_argument_takes():
    parameters = {"x": None, "state": None, "batch": None}
    given = arguments({"x": A, "state.0": B, "state.1": C, "batch.ids": A, "batch.more.0": B}, parameters)
    assert given == {"x": A, "state": (B, C), "batch": {"ids": A, "more": (B,)}}
    assert arguments({"a.b": A}, {"inputs": None}) == {"a.b": A}, "no argument is called a"
