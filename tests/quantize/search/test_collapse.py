"""Outputs that collapse are found and avoided without labels."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from edgeopt.quantize import QuantizeConfig, quantize
from edgeopt.quantize.apply.gates import Gated
from edgeopt.targets.target import load_target
from tests.quantize.conftest import sqnr

SPECTRUM = """
<ir_version: 10, opset_import: ["" : 21]>
g (float[n, 2, 6, 6] x) => (float[n, 4, 6, 6] y) <float floor = {1e-6}> {
    c = Conv (x, w)
    p = Mul (c, c)
    f = Add (p, floor)
    y = Log (f)
}
"""
"""The logarithm of a power: a grid that holds the loud ones has no level for the quiet ones."""


def test_a_collapse_is_avoided_without_labels(saved, tmp_path, vnni):
    """A loud channel takes the whole grid of the first layer's input, and the model only looks at the quiet one."""
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> g (float[n, 2, 4, 4] x) => (float[n, 1, 4, 4] y) '
        "{ a = Conv <kernel_shape = [1, 1]> (x, w1) r = Relu (a) y = Conv <kernel_shape = [1, 1]> (r, w2) }"
    )
    for number, node in enumerate(model.graph.node):
        node.name = f"n{number}"
    weights = {"w1": np.array([[0, 1.0], [0, -1.0]]), "w2": np.array([[1.0, -1.0]])}
    for name, values in weights.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(values.astype(np.float32)[..., None, None], name))
    generator = np.random.default_rng(0)
    batch = {"x": (generator.standard_normal((8, 2, 4, 4)) * np.array([1000, 1])[:, None, None]).astype(np.float32)}
    path = saved(model)
    results = {}
    for collapse_db in (None, 6.0):
        config = QuantizeConfig(collapse_db=collapse_db)
        result = quantize(path, [batch], target=vnni, output=tmp_path / "q.onnx", config=config)
        results[collapse_db] = sqnr(result.path, path, batch)
    assert results[None] < 6.0 < results[6.0]
    decision = next(decision for decision in result.facts.decisions if decision.what == "exceptions")
    assert decision.choice == "1 layers in floating point"
    assert "n0" in decision.reason


@pytest.fixture
def path(saved):
    model = onnx.parser.parse_model(SPECTRUM)
    weight = np.random.default_rng(0).standard_normal((4, 2, 1, 1)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    return saved(model)


def loudness() -> list[dict[str, np.ndarray]]:
    generator = np.random.default_rng(1)
    return [
        {"x": (generator.standard_normal((1, 2, 6, 6)) * 10 ** generator.uniform(-2, 1, (1, 2, 6, 6))).astype(np.float32)}
        for _ in range(8)
    ]


def test_nodes_around_the_noisiest_activations_stay_floating_where_layers_do_not_help(path, tmp_path, monkeypatch) -> None:
    target = load_target("nnapi")
    plain = quantize(path, loudness(), target=target, output=tmp_path / "a.onnx", config=QuantizeConfig(collapse_db=None)).facts
    assert plain.outputs_db < 12
    looked_at = []

    def gated(model, gates, batches, **given):
        looked_at.append(len(batches))
        return Gated(model, gates, batches, **given)

    monkeypatch.setattr("edgeopt.quantize.search.collapse.sensitivity", lambda *_, **__: ())  # no layer to leave floating
    monkeypatch.setattr("edgeopt.quantize.search.collapse.Gated", gated)
    facts = quantize(path, loudness(), target=target, output=tmp_path / "b.onnx").facts
    (choice,) = [decision for decision in facts.decisions if decision.what == "exceptions"]
    assert facts.outputs_db >= 12
    assert choice.choice.endswith(" nodes in floating point") and "the nodes around" in choice.reason
    assert not [warning for warning in facts.warnings if "collapse" in warning]
    assert looked_at == [2]  # of 8: each activation takes a run on each


def test_scores_do_not_collapse_beside_boxes_in_pixels(saved, tmp_path):
    """One grid holds the boxes and the scores that a Concat joins on targets that round it, and all scores become 0."""
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[n, 6, 8, 8] x) => (float[n, 9, 8, 8] y) <float[1] pixels = {300}>'
        "{ a = Conv (x, w1) boxes = Mul (a, pixels) b = Conv (x, w2) scores = Sigmoid (b) "
        "y = Concat <axis = 1> (boxes, scores) }"
    )
    generator = np.random.default_rng(0)
    for name, channels in {"w1": 4, "w2": 5}.items():
        weight = generator.uniform(-1, 1, (channels, 6, 1, 1)).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(weight, name))
    batches = [{"x": generator.uniform(-1, 1, (1, 6, 8, 8)).astype(np.float32)} for _ in range(8)]
    result = quantize(saved(model), batches, target=load_target("nnapi"), output=tmp_path / "q.onnx")
    parts = {layer.name: layer.sqnr_db for layer in result.facts.layers if layer.op == "output"}
    assert set(parts) == {"y[:, 0:4]", "y[:, 4:9]"} and min(parts.values()) == result.facts.outputs_db > 12
    exact, got = (
        ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, batches[0])[0][:, 4:]
        for path in (saved(model), result.path)
    )
    assert np.abs(exact - got).max() < 0.1
