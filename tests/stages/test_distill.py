"""The stage `distill`: what it hands to the package that does the work."""

from types import SimpleNamespace

import pytest

from edgeopt.distill.stage import Material
from edgeopt.errors import RecipeError
from edgeopt.stages.distill import run_distill


def job(**options):
    recipe = SimpleNamespace(**{"distill": None, "prune": None, **options})
    data = SimpleNamespace(split=lambda name: name)
    return SimpleNamespace(recipe=recipe, data=data, workspace=SimpleNamespace(output="out"))


def test_a_recipe_without_its_table_is_refused():
    with pytest.raises(RecipeError, match=r"the recipe has no \[distill\]"):
        run_distill(job())


def test_the_teacher_teaches_on_the_training_samples(monkeypatch):
    asked = []
    monkeypatch.setattr("edgeopt.stages.distill.load", lambda job, name: name)
    monkeypatch.setattr("edgeopt.stages.distill.session", lambda job: "session")
    monkeypatch.setattr("edgeopt.distill.stage.distill", lambda *arguments, **rest: asked.append((arguments, rest)))
    monkeypatch.setattr("edgeopt.stages.distill.judge", lambda job, task: f"judge of {task}")
    monkeypatch.setattr("edgeopt.stages.task.task_of", lambda job, samples: "task")
    options = SimpleNamespace(unlabelled=[])
    run_distill(job(distill=options))
    [(arguments, rest)] = asked
    assert arguments == ("teacher", "train")
    assert (rest["output"], rest["options"], rest["session"]) == ("out", options, "session")
    assert rest["material"] == Material("judge of task", None, "task")
