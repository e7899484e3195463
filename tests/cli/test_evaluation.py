"""The metric behind --max-drop."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from edgeopt.cli.evaluation import metric
from edgeopt.errors import DataError


def task(*, labelled: bool) -> SimpleNamespace:
    return SimpleNamespace(is_labelled=lambda samples: labelled)


def test_samples_without_labels_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeopt.tasks.registry.task_for", lambda samples: task(labelled=False))
    with pytest.raises(DataError, match="--max-drop needs labelled samples"):
        metric("samples", "target")  # type: ignore[arg-type]


def test_a_named_task_measures_every_file_on_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    named = task(labelled=True)
    monkeypatch.setattr("edgeopt.tasks.registry.find_task", lambda name: named)
    monkeypatch.setattr("edgeopt.stages.drops.merit", lambda *arguments: arguments)
    found = metric("samples", "target", "object-detection")(Path("m.onnx"))  # type: ignore[arg-type]
    assert found == (Path("m.onnx"), "samples", "target", named)
