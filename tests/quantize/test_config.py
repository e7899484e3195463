from pathlib import Path

import pytest

from edgeopt.errors import RecipeError
from edgeopt.quantize import QuantizeConfig


def test_a_recipe_gives_the_plan_as_text():
    assert QuantizeConfig.read({"plan": "a/b.json"}, where="recipe").plan == Path("a/b.json")


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"range": "mse"}, "did you mean 'ranges'"),
        ({"ranges": "best"}, "'auto'"),
        ({"max_drop": -1}, "greater than or equal"),
        ({"memory_limit_bytes": "inf"}, "write a number of bytes"),
        ({"memory_limit_bytes": "1e999GB"}, "write a number of bytes"),
    ],
)
def test_wrong_options_are_explained(values, part):
    with pytest.raises(RecipeError, match=part):
        QuantizeConfig.read(values, where="recipe")
