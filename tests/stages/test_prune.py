"""The stage `prune`: what it hands to the package that does the work."""

from types import SimpleNamespace

import pytest

from edgeopt.errors import RecipeError
from edgeopt.stages.prune import run_prune


def job(**options):
    recipe = SimpleNamespace(**{"distill": None, "prune": None, **options})
    data = SimpleNamespace(split=lambda name: name)
    return SimpleNamespace(recipe=recipe, data=data, workspace=SimpleNamespace(output="out"))


def test_a_recipe_without_its_table_is_refused():
    with pytest.raises(RecipeError, match=r"the recipe has no \[prune\]"):
        run_prune(job())


def test_the_model_of_the_stage_before_is_pruned(monkeypatch):
    asked = []
    monkeypatch.setattr("edgeopt.stages.prune.load", lambda job, name: name)
    monkeypatch.setattr("edgeopt.stages.prune.session", lambda job: "session")
    monkeypatch.setattr("edgeopt.prune.stage.prune", lambda *arguments, **rest: asked.append((arguments, rest)))
    run_prune(job(prune="options", distill="options"))
    run_prune(job(prune="options"))
    assert [arguments for arguments, _ in asked] == [("distill", "teacher", "train"), ("teacher", "teacher", "train")]
    assert asked[0][1] == {"output": "out", "options": "options", "session": "session"}
