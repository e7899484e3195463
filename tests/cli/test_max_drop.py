"""The metric behind --max-drop."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from edgeopt.cli.max_drop import metric
from edgeopt.data.samples import from_arrays
from edgeopt.errors import DataError
from edgeopt.targets.target import load_target


def task(*, labelled: bool) -> SimpleNamespace:
    return SimpleNamespace(is_labelled=lambda samples: labelled)


def test_samples_without_the_labels_of_a_named_task_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    named = SimpleNamespace(is_labelled=lambda samples: False, name="object-detection", wanted="boxes")
    monkeypatch.setattr("edgeopt.tasks.registry.find_task", lambda name: named)
    with pytest.raises(DataError, match="--max-drop needs labelled samples, and object-detection needs boxes"):
        metric("samples", "target", Path("m.onnx"), "object-detection")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("body", "values", "wanted"),
    [
        ("y = Mul (x, c)", [-1.0, -1.0], 0.0),  # the other class wins everywhere
        ("y = Mul (x, c)", [3.0, 1.0], 0.5),
        ("y = Mul (x, c)  z = Add (x, x)", [1.1, 1.1], 0.99),  # two outputs: 10 % off is 1 % of the power
    ],
)
def test_samples_without_labels_are_judged_by_likeness(tmp_path: Path, body: str, values: list[float], wanted: float) -> None:
    outputs = "float[n, 2] y, float[n, 2] z" if "z" in body else "float[n, 2] y"
    text = f'<ir_version: 8, opset_import: ["" : 17]> g (float[n, 2] x) => ({outputs}) {{ {body} }}'
    for name, factors in (("base", [1.0, 1.0]), ("other", values)):
        model = onnx.parser.parse_model(text)
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(factors, np.float32), "c"))
        onnx.save(model, tmp_path / f"{name}.onnx")
    samples = from_arrays({"x": np.array([[3, 1], [1, 2], [4, 1], [0.5, 1]], np.float32)})
    judge = metric(samples, load_target("host"), tmp_path / "base.onnx")
    assert judge(tmp_path / "base.onnx") == 1.0
    assert judge(tmp_path / "other.onnx") == pytest.approx(wanted)


def test_a_named_task_measures_every_file_on_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    named = task(labelled=True)
    monkeypatch.setattr("edgeopt.tasks.registry.find_task", lambda name: named)
    monkeypatch.setattr("edgeopt.stages.drops.merits", lambda *arguments: arguments)
    found = metric("samples", "target", Path("base.onnx"), "object-detection")  # type: ignore[arg-type]
    assert found == ("samples", "target", named)
