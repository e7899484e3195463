from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgeopt.errors import RecipeError
from edgeopt.recipe import Recipe, load_recipe
from edgeopt.search.knobs import OFF, applied, knobs_of

_TINY = str(Path(__file__).parent.parent / "tiny_recipe.toml")


def _text_recipe(folder: Path, **more: object) -> Recipe:
    (folder / "config.json").write_text(json.dumps({"num_hidden_layers": 6}))
    values = {
        "name": "text",
        "data": {"set": "sst2"},
        "teacher": {"source": str(folder)},
        "distill": {"layers": [1, 3, 5]},
        "quantize": {"scheme": "float16"},
        **more,
    }
    return Recipe.read(values, where="test")


def test_depths_of_a_text_teacher_are_evenly_spaced(tmp_path: Path) -> None:
    (knob,) = knobs_of(_text_recipe(tmp_path))
    assert knob.key == "distill.layers"
    assert knob.choices == ([1, 3, 5], [1, 2, 3, 5], [2, 5], [5])


def test_own_knobs_follow_the_stages_of_the_recipe() -> None:
    knobs = {knob.key: knob.choices for knob in knobs_of(load_recipe(_TINY, ["distill.arguments.width=32"]))}
    assert knobs == {
        "distill.arguments.width": (32, 24, 16),
        "prune.macs": (0.6, 0.75, 0.5, 0.35, "off"),
        "quantize.scheme": ("static", "dynamic"),
    }


def test_a_setting_makes_a_recipe_and_off_leaves_a_stage_out() -> None:
    recipe = load_recipe(_TINY)
    made = applied(recipe, {"prune.macs": 0.4, "quantize.scheme": "dynamic"})
    assert made.prune is not None and made.prune.macs == 0.4 and made.quantize.scheme == "dynamic"
    assert applied(recipe, {"prune.macs": OFF}).prune is None
    assert recipe.prune is not None and recipe.prune.macs == 0.6


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"prune.mac": [0.5, 0.6]}, "unknown key 'prune.mac' .did you mean 'macs'"),
        ({"prune.macs": [0.5, 1.5]}, "prune.macs = 1.5"),
        ({"distill.layers": [[0], [1]]}, "distill"),
        ({"teacher.train.epochs.x": [1, 2]}, "'epochs' is a value"),
        ({"prune.macs": []}, "no values"),
    ],
)
def test_knobs_that_do_not_exist_are_named(knobs: dict[str, list[object]], message: str) -> None:
    values = json.loads(load_recipe(_TINY).model_dump_json(exclude_none=True))
    recipe = Recipe.read(values | {"search": {"knobs": knobs}}, where="test")
    with pytest.raises(RecipeError, match=message):
        knobs_of(recipe)


def test_a_knob_of_a_stage_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no table \[prune\]"):
        knobs_of(_text_recipe(tmp_path, search={"knobs": {"prune.macs": [0.5, 0.7]}}))


@pytest.mark.parametrize(
    ("prune", "key", "choices"),
    [
        ({"parameters": 0.6}, "prune.parameters", (0.6, 0.75, 0.5, 0.35, OFF)),
        ({"latency": "0.5x"}, "prune.latency", ("0.5x", "0.75x", "0.35x", OFF)),
        ({"latency": "5ms"}, "prune.latency", ("5ms", OFF)),
        ({"units": {"a": 8}}, "prune.units", ({"a": 8}, OFF)),
    ],
)
def test_the_knob_of_pruning_is_the_budget_that_the_recipe_has(
    tmp_path: Path, prune: dict[str, object], key: str, choices: object
) -> None:
    recipe = _text_recipe(tmp_path, prune=prune)
    (knob,) = (knob for knob in knobs_of(recipe) if knob.key.startswith("prune."))
    assert (knob.key, knob.choices) == (key, choices)
    assert applied(recipe, {knob.key: knob.choices[0]}).prune == recipe.prune, "the first choice is the recipe's own"


def test_a_recipe_that_only_sets_weights_to_zero_is_not_pruned_in_other_ways(tmp_path: Path) -> None:
    assert [knob.key for knob in knobs_of(_text_recipe(tmp_path, prune={"sparsity": 0.5}))] == ["distill.layers"]
