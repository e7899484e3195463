"""The tree of errors: who must act decides the exit code."""

import pytest

from edgeopt import errors
from edgeopt.errors import EdgeoptError, nearest


@pytest.mark.parametrize(
    ("kind", "code"),
    [("RecipeError", 2), ("ModelError", 2), ("DataError", 2), ("MachineError", 2), ("IntegrityError", 1), ("InternalError", 3)],
)
def test_each_kind_ends_with_its_code(kind: str, code: int) -> None:
    error = getattr(errors, kind)("what")
    assert isinstance(error, EdgeoptError)
    assert error.exit_code == code
    assert f"─ {kind}" in str(errors.__doc__)


def test_the_nearest_name_is_offered_if_one_is_near() -> None:
    assert nearest("quantise", ["quantize", "bundle"]) == " (did you mean 'quantize'?)"
    assert nearest("zzz", ["quantize", "bundle"]) == ""
    assert nearest("x", []) == ""
