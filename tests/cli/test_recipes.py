"""`edgeopt recipes`: the recipes that come with edgeopt."""

from __future__ import annotations

import json

from tests.cli.conftest import edgeopt_here


def test_every_recipe_has_a_description() -> None:
    rows = json.loads(edgeopt_here("recipes", "--format", "json").stdout)
    assert {"quickstart", "text-classification"} <= {row["recipe"] for row in rows}
    assert all(row["description"] for row in rows)


def test_an_unknown_format_is_refused_with_those_there_are() -> None:
    done = edgeopt_here("recipes", "--format", "jsn")
    assert done.returncode == 2 and "--format jsn (did you mean 'json'?): choose table, json, markdown" in done.stderr
