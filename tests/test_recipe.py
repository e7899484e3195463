"""Recipes: every shipped one is valid, changes apply, mistakes are named."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeopt.errors import EdgeoptError, RecipeError
from edgeopt.recipe import Recipe, apply_change, load_recipe, recipe_descriptions, recipe_names


@pytest.fixture(autouse=True)
def _data_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGEOPT_DATA", str(tmp_path))


def test_every_shipped_recipe_is_valid_and_described() -> None:
    assert {"quickstart", "text-classification", "face-detection"} <= set(recipe_names())
    for name in recipe_names():
        assert load_recipe(name).name == name
        assert len(recipe_descriptions()[name]) > 20


def test_the_resolved_recipe_reads_back_as_itself(tmp_path: Path) -> None:
    for name in recipe_names():
        recipe = load_recipe(name)
        path = tmp_path / f"{name}.toml"
        path.write_text(recipe.to_toml(), encoding="utf-8")
        assert load_recipe(str(path)) == recipe


def test_changes_are_toml_values_or_text() -> None:
    recipe = load_recipe("quickstart", ["seed=7", "quantize.exclude=['a', 'b']", "prune.train.epochs=0.5", "target=arm64"])
    assert (recipe.seed, recipe.quantize.exclude, recipe.target) == (7, ["a", "b"], "arm64")
    assert recipe.prune is not None
    assert recipe.prune.train.epochs == 0.5


def test_environment_variables_stand_for_folders(tmp_path: Path) -> None:
    teacher = load_recipe("text-classification").teacher
    assert teacher is not None
    assert teacher.source == f"{tmp_path}/sst2_teacher"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["sed=1"], "unknown key 'sed' (did you mean 'seed'?)"),
        (["quantize.rangs='mse'"], "unknown key 'quantize.rangs' (did you mean 'ranges'?)"),
        (["seed='x'"], "key 'seed' is 'x'"),
        (["seed"], "write KEY=VALUE"),
        (["seed.x=1"], "'seed' is a value, not a table"),
        (["model='x.onnx'"], "give either a [teacher] table or model"),
        (["distill.layers=[1]"], "give either source (module:callable, a folder) or layers"),
    ],
)
def test_mistakes_are_named(changes: list[str], message: str) -> None:
    with pytest.raises(RecipeError) as raised:
        load_recipe("quickstart", changes)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(RecipeError, match="did you mean 'quickstart'"):
        load_recipe("quickstat")


def test_a_file_that_is_not_toml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(b"\xff[")
    with pytest.raises(RecipeError, match="not valid TOML"):
        load_recipe(str(path))


@given(st.text())
def test_any_change_applies_or_is_refused(text: str) -> None:
    values = {"seed": 1, "data": {"set": "digits"}}
    try:
        apply_change(values, text)
    except EdgeoptError:
        return
    key = text.partition("=")[0].strip()
    place: object = values
    for part in key.split("."):
        assert isinstance(place, dict)
        place = place[part]


@given(
    st.dictionaries(
        st.text(max_size=5), st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=4)
    )
)
def test_any_table_is_a_recipe_or_refused_in_one_line(values: dict[str, object]) -> None:
    try:
        Recipe.read({"name": "x", **values}, where="recipe")
    except RecipeError as error:
        assert str(error).startswith("recipe: ")


def test_toml_leaves_out_what_is_none() -> None:
    assert "calibration_limit = 128" in load_recipe("quickstart").to_toml()
    assert "train_limit" not in tomllib.loads(load_recipe("quickstart").to_toml())["data"]
