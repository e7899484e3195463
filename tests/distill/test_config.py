"""Options of distillation: exactly one kind of student."""

from __future__ import annotations

import pytest

from edgeopt.distill.config import DistillOptions
from edgeopt.errors import RecipeError

ONE = "give either source"


@pytest.mark.parametrize(
    "values",
    [
        {"source": "nets:Small"},
        {"layers": [0, 3]},
        {"layers": []},
        {"layer_count": 2, "layer_choice": "similarity"},
        {"width": 16},
        {"width": 16, "layers": [1]},
        {"width": 16, "layer_count": 1},
    ],
)
def test_each_kind_of_student_is_allowed(values: dict[str, object]) -> None:
    options = DistillOptions.read(values, where="test")
    assert {name: getattr(options, name) for name in values} == values
    assert (options.seeds, options.control, options.unlabelled) == (1, False, [])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, ONE),
        ({"source": "nets:Small", "layers": [1]}, ONE),
        ({"source": "nets:Small", "width": 8}, ONE),
        ({"source": "nets:Small", "layer_count": 1}, ONE),
        ({"layers": [1], "layer_count": 1}, "give either layers or layer_count"),
        ({"layer_count": 0}, "layer_count"),
        ({"width": 0}, "width"),
        ({"width": 8, "seeds": 0}, "seeds"),
        ({"width": 8, "layer_choice": "middle"}, "layer_choice"),
        ({"widht": 8}, "unknown key 'widht'.*did you mean 'width'"),
    ],
)
def test_none_or_two_kinds_are_refused(values: dict[str, object], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        DistillOptions.read(values, where="test")
