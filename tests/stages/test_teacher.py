"""The stage `teacher`: a model as it is, or trained first."""

from types import SimpleNamespace

import pytest
import torch

from edgeopt.errors import RecipeError
from edgeopt.stages.teacher import run_teacher
from edgeopt.train.config import TrainOptions


def job(tmp_path, teacher):
    data = SimpleNamespace(split=lambda name: name, example=lambda: {"x": torch.zeros(1, 3)})
    return SimpleNamespace(
        recipe=SimpleNamespace(teacher=teacher, seed=3), data=data, workspace=SimpleNamespace(output=tmp_path, checkpoint=None)
    )


def test_a_recipe_without_a_teacher_is_refused(tmp_path):
    with pytest.raises(RecipeError, match=r"the recipe has no \[teacher\]"):
        run_teacher(job(tmp_path, None))


@pytest.mark.parametrize("train", [None, TrainOptions()], ids=["as it is", "trained"])
def test_the_model_is_saved_measured_and_trained_if_asked(tmp_path, monkeypatch, train):
    loaded = SimpleNamespace(module=torch.nn.Linear(3, 2), origin="origin", folder=None, purpose=None)
    done = []
    monkeypatch.setattr("edgeopt.models.load.load_model", lambda *_, **__: loaded)
    monkeypatch.setattr(
        "edgeopt.models.save.save_model", lambda module, output, *, origin: done.append(("saved", output, origin))
    )
    monkeypatch.setattr("edgeopt.models.save.copy_tokenizer", lambda folder, output: None)
    size = SimpleNamespace(parameters=8, size_bytes=32, macs=6)
    monkeypatch.setattr("edgeopt.models.size.measure", lambda module, example: size)
    trained = SimpleNamespace(history=("epoch",), evaluations=("evaluation",))
    monkeypatch.setattr("edgeopt.train.fine_tune.fine_tune", lambda *_, **__: trained)
    monkeypatch.setattr("edgeopt.stages.teacher.task_of", lambda job, samples: "task")
    monkeypatch.setattr("edgeopt.stages.teacher.judge", lambda job, task: None)
    monkeypatch.setattr("edgeopt.stages.teacher.session", lambda job: None)
    teacher = SimpleNamespace(source="m:n", task=None, arguments={}, trust_remote_code=False, train=train)
    facts = run_teacher(job(tmp_path, teacher))
    assert (facts.parameters, facts.size_bytes, facts.macs) == (8, 32, 6)
    assert (facts.history, facts.evaluations) == ((("epoch",), ("evaluation",)) if train else ((), ()))
    assert done == [("saved", tmp_path, "origin")]
