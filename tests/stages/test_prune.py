"""The stage `prune`: what it hands to the package that does the work."""

from types import SimpleNamespace

import pytest

from edgeopt.errors import RecipeError
from edgeopt.stages.prune import run_prune
from edgeopt.targets.target import load_target
from edgeopt.train.loop import Session


def job(**options):
    recipe = SimpleNamespace(**{"distill": None, "prune": None, "seed": 3, **options})
    data = SimpleNamespace(split=lambda name: name)
    return SimpleNamespace(recipe=recipe, data=data, workspace=SimpleNamespace(output="out"), target=load_target("x86-vnni"))


def test_a_recipe_without_its_table_is_refused():
    with pytest.raises(RecipeError, match=r"the recipe has no \[prune\]"):
        run_prune(job())


def test_the_model_of_the_stage_before_is_pruned(monkeypatch):
    asked = []
    models = {name: SimpleNamespace(name=name, task="text-classification") for name in ("teacher", "distill")}
    monkeypatch.setattr("edgeopt.stages.prune.load", lambda job, name: models[name])
    monkeypatch.setattr("edgeopt.stages.prune.session", lambda job: Session(seed=3))
    monkeypatch.setattr("edgeopt.stages.pruned_files.latency_costs", lambda timing, **_: f"costs on {timing.target.name}")
    monkeypatch.setattr("edgeopt.stages.pruned_files.latency_of", lambda timing, **_: "latency")
    monkeypatch.setattr("edgeopt.prune.stage.prune", lambda *arguments, **rest: asked.append((arguments, rest)))
    options = SimpleNamespace(precision="fp32", sequence=64)
    run_prune(job(prune=options, distill="options"))
    run_prune(job(prune=options))
    assert [arguments for arguments, _ in asked] == [
        (models["distill"], models["teacher"], "train"),
        (models["teacher"], models["teacher"], "train"),
    ]
    known = asked[0][1].pop("session")
    assert asked[0][1] == {"output": "out", "options": options}
    assert (known.seed, known.step, known.costs_of, known.latency_of) == (3, 16, "costs on x86-vnni", "latency")
