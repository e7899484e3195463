"""Exact outputs, computed once."""

import numpy as np
import onnx
import pytest

from edgeopt.graph import files
from edgeopt.quantize.inspect import exact as exact_module
from edgeopt.quantize.inspect.exact import ExactOutputs

HEAD = '<ir_version: 10, opset_import: ["" : 21]> g (float[n, 3] x) => (float[n, 3] y)'


def model(body: str):
    return files.as_ir(onnx.parser.parse_model(f"{HEAD} {body}"))


def test_the_decibels_are_those_of_the_worst_output() -> None:
    batches = [{"x": np.full((1, 3), value, np.float32)} for value in (1.0, 2.0)]
    exact = ExactOutputs(model("{ y = Identity (x) }"), batches)
    other = model("<float[1] s = {0.1}> { y = Add (x, s) }")
    assert exact.db(other) == pytest.approx(10 * np.log10((3 + 12) / (6 * 0.01)), abs=1e-4)
    assert exact.db(model("{ y = Identity (x) }")) == 150


@pytest.mark.parametrize(("limit", "sessions"), [(256 * 10**6, 1), (12, 2), (0, 2)])
def test_outputs_are_kept_while_they_are_small(monkeypatch, limit: int, sessions: int) -> None:
    opened = []
    real = exact_module.open_exposed
    monkeypatch.setattr(exact_module, "_MOST_BYTES", limit)
    monkeypatch.setattr(exact_module, "open_exposed", lambda *given, **named: opened.append(1) or real(*given, **named))
    batches = [{"x": np.full((1, 3), value, np.float32)} for value in (1.0, 2.0)]
    exact = ExactOutputs(model("{ y = Neg (x) }"), batches)
    for _ in range(2):
        assert [float(outputs["y"][0, 0]) for outputs in exact] == [-1.0, -2.0]
    assert len(opened) == sessions
