"""`edgeopt deploy` and its wrong uses: one line each, exit code 2."""

import pytest
from typer.testing import CliRunner

from edgeopt.cli.app import app
from edgeopt.errors import ModelError, RecipeError


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["--to", "pyhton", "-o", "app"], RecipeError, "did you mean 'python'"),
        (["--to", "python"], RecipeError, "needs -o DIR"),
        (["--to", "python", "-o", "app"], ModelError, "no bundle.json in"),
        (["--to", "python", "-o", "app", "--push", "host/a:1"], RecipeError, "--push is for --to oci"),
        (["--to", "oci", "-o", "app", "--push", "host/a:1"], RecipeError, "-o is for projects"),
    ],
)
def test_wrong_uses_are_named(arguments, error, message, tmp_path):
    done = CliRunner().invoke(app, ["deploy", str(tmp_path), *arguments])
    assert isinstance(done.exception, error)
    assert message in str(done.exception)
