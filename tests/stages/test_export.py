"""The stage `export`: a few samples, one by one, with the task and the folder of the model."""

from types import SimpleNamespace

import pytest

from edgeopt.export import ExportConfig
from edgeopt.stages.export import run_export


@pytest.mark.parametrize("transformers", [True, False])
def test_the_task_is_the_recipes_or_the_models_and_a_folder_of_transformers_is_copied(monkeypatch, tmp_path, transformers):
    if transformers:
        (tmp_path / "config.json").write_text("{}")
    asked = {}
    monkeypatch.setattr(
        "edgeopt.stages.export.load", lambda job, name: SimpleNamespace(task="text-classification", module=name)
    )
    monkeypatch.setattr(
        "edgeopt.data.select.limited", lambda samples, count: SimpleNamespace(batches=lambda size: (count, size))
    )
    monkeypatch.setattr("edgeopt.export.export", lambda *arguments, **rest: asked.update(rest, arguments=arguments))
    recipe = SimpleNamespace(export=ExportConfig(), name="mine")
    data = SimpleNamespace(split=lambda name: name)
    job = SimpleNamespace(
        recipe=recipe, data=data, inputs={"distill": tmp_path}, target="t", workspace=SimpleNamespace(output=tmp_path / "out")
    )
    run_export(job)
    config = asked["config"]
    assert asked["arguments"] == ("distill", (16, 1))
    assert (config.task, config.source) == ("text-classification", "mine")
    assert config.source_folder == (tmp_path if transformers else None)


def test_the_file_of_a_pruned_model_is_compared_with_it(monkeypatch, tmp_path):
    checked = []
    samples = SimpleNamespace(batches=lambda size: size, collate=lambda indices: f"samples {indices}")
    monkeypatch.setattr("edgeopt.stages.export.load", lambda job, name: SimpleNamespace(task=None, module=name))
    monkeypatch.setattr("edgeopt.data.select.limited", lambda _, count: samples)
    monkeypatch.setattr("edgeopt.export.export", lambda *arguments, **rest: SimpleNamespace(path="file"))
    monkeypatch.setattr("edgeopt.stages.pruned_files.check_as_pruned", lambda *arguments: checked.append(arguments))
    recipe = SimpleNamespace(export=ExportConfig(), name="mine")
    data, workspace = SimpleNamespace(split=lambda name: name), SimpleNamespace(output=tmp_path / "out")
    for stage in ("prune", "distill"):
        run_export(SimpleNamespace(recipe=recipe, data=data, inputs={stage: tmp_path}, target="t", workspace=workspace))
    assert checked == [("file", "prune", "samples [0]")]
