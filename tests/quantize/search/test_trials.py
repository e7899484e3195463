"""A metric that is measured once in floating point, and what it may lose."""

from types import SimpleNamespace

import onnx
import pytest

from edgeopt.graph.files import as_ir, load
from edgeopt.quantize.search.trials import Metric, Trials, named


@pytest.fixture
def model():
    return as_ir(
        onnx.parser.parse_model('<ir_version: 10, opset_import: ["" : 21]> g (float[n] x) => (float[n] y) { y = Relu (x) }')
    )


def test_the_baseline_is_measured_once_and_a_drop_on_the_finished_file(model, tmp_path):
    measured = []

    def evaluate(path):
        measured.append(path)
        return 0.9 if path == tmp_path / "float.onnx" else 0.7 if load(path).graph[0].op_type == "Neg" else 0.5

    def finished(quantized):
        quantized.graph[0].op_type = "Neg"
        return quantized

    metric = Metric(evaluate, tmp_path / "float.onnx", 0.2)
    trials = Trials(SimpleNamespace(), lambda plan: model, finished, ())
    assert metric.drop(model, trials) == pytest.approx(0.2)
    assert metric.drop(model, trials) == pytest.approx(0.2)
    assert measured.count(tmp_path / "float.onnx") == 1 and len(measured) == 3
    assert metric.allows(0.8 - 0.6) and not metric.allows(0.2001)


@pytest.mark.parametrize(("count", "text"), [(0, ""), (1, "a"), (3, "a, b, c"), (4, "a, b, c …")])
def test_at_most_three_layers_are_named(count, text):
    assert named([SimpleNamespace(name=name) for name in "abcd"[:count]]) == text
