from __future__ import annotations

from pathlib import Path

from edgeopt.recipe import Recipe, load_recipe
from edgeopt.search.rounds import Rung, is_trained, recipe_at

_TINY = str(Path(__file__).parent.parent / "tiny_recipe.toml")


def test_rungs_differ_in_training_and_measuring_alone() -> None:
    recipe = load_recipe(_TINY, ["search.short=0.5", "search.profile_seconds=0.2"])
    made = {rung: recipe_at(recipe, {"prune.macs": 0.4}, rung) for rung in Rung}
    epochs = {rung: item.distill.train.epochs for rung, item in made.items() if item.distill}
    assert epochs == {Rung.UNTRAINED: 2e-6, Rung.SHORT: 1.0, Rung.FULL: 2.0, Rung.FINAL: 2.0}
    assert all(item.teacher == recipe.teacher for item in made.values())  # trained once, in full
    assert all(item.quantize == recipe.quantize for item in made.values())
    assert all(item.profile and item.profile.seconds == 0.2 for rung, item in made.items() if rung != Rung.FINAL)
    assert made[Rung.FINAL].profile == recipe.profile and made[Rung.FINAL].search.short == 0.25  # its own defaults
    assert is_trained(recipe)


def test_a_target_replaces_that_of_the_recipe() -> None:
    assert recipe_at(load_recipe(_TINY), {}, Rung.FULL, target="x86-avx2").target == "x86-avx2"


def test_a_recovery_without_training_takes_the_same_recipe_at_every_rung() -> None:
    values = load_recipe(_TINY, ["prune.recovery=none"]).model_dump(mode="json", exclude_none=True, exclude={"distill"})
    recipe = Recipe.read(values, where="test")
    assert not is_trained(recipe)
    assert recipe_at(recipe, {}, Rung.UNTRAINED).prune == recipe_at(recipe, {}, Rung.FULL).prune == recipe.prune
