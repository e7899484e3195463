"""Outputs that are no floating-point numbers, or as many as values decide: what they are computed from is compared."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from edgeopt.graph import files
from edgeopt.graph.shapes import infer_types
from edgeopt.quantize import QuantizeConfig, quantize
from edgeopt.quantize.compared_outputs import compared_outputs, expose_compared, hide_compared

HEAD = '<ir_version: 10, opset_import: ["" : 21]> g (float[n, 6] x) => '
LOGITS = "a = MatMul (x, w) y = Relu (a)"
ENDINGS = {
    "classes": ("(int64[n] label)", "", "label = ArgMax <axis = 1, keepdims = 0> (y)"),
    "a mask": ("(bool[n, 6] on)", "<float z = {0.5}>", "on = Greater (y, z)"),
    "classes as floats": ("(float[n] f)", "", "label = ArgMax <axis = 1, keepdims = 0> (y) f = Cast <to = 1> (label)"),
    "a sequence": ("(seq(float[n, 2]) s)", "<int64 two = {2}>", "s = SplitToSequence <axis = 1> (y, two)"),
    "positions": ("(int64[2, k] p)", "<float z = {0.5}>", "on = Greater (y, z) p = NonZero (on)"),
    "picked values": (
        "(float[k] v)",
        "<float z = {0.5}, int64[1] all = {-1}>",
        "on = Greater (y, z) o = Reshape (on, all) v = Compress (y, o)",
    ),
    "logits and classes": ("(float[n, 6] y, int64[n, 1] label)", "", "label = ArgMax <axis = 1> (y)"),
}


def proto(ending: str) -> onnx.ModelProto:
    outputs, constants, rest = ENDINGS[ending]
    made = onnx.parser.parse_model(f"{HEAD} {outputs} {constants} {{ {LOGITS} {rest} }}")
    weights = np.random.default_rng(2).standard_normal((6, 6)).astype(np.float32)
    made.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    return made


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_an_output_is_computed_from_is_compared(ending):
    model = files.as_ir(proto(ending))
    infer_types(model)
    before = [value.name for value in model.graph.outputs]
    added = expose_compared(model)
    assert compared_outputs(model.graph) == ["y"]
    assert added == (() if "y" in before else ("y",))
    hide_compared(model, added)
    assert [value.name for value in model.graph.outputs] == before


def batches() -> list[dict[str, np.ndarray]]:
    generator = np.random.default_rng(3)
    return [{"x": generator.standard_normal((4, 6)).astype(np.float32)} for _ in range(8)]


@pytest.mark.parametrize(
    ("ending", "scheme"),
    [("classes", "static"), ("classes", "float16"), ("a sequence", "dynamic"), ("picked values", "static")],
)
def test_quantize_says_how_near_the_outputs_are(ending, scheme, saved, tmp_path, vnni):
    """Among others where the quantized model picks another number of values than the floating-point one."""
    path, config = saved(proto(ending)), QuantizeConfig(scheme=scheme)
    result = quantize(path, batches(), target=vnni, output=tmp_path / "q.onnx", config=config)
    assert result.facts.outputs_db is not None
    assert 30 < result.facts.outputs_db < 100
    sessions = [ort.InferenceSession(file, providers=["CPUExecutionProvider"]) for file in (path, result.path)]
    assert [[value.name for value in session.get_outputs()] for session in sessions] == [
        [ENDINGS[ending][0].split()[-1][:-1]]
    ] * 2
    if ending == "classes":
        assert result.facts.agreement is not None
        assert result.facts.agreement.total == 32
    assert not any("far from" in warning for warning in result.facts.warnings)


@pytest.mark.parametrize("ending", ["classes", "picked values"])
def test_a_collapse_before_such_an_output_is_seen_and_avoided(ending, saved, tmp_path, vnni):
    """A loud channel, which the model ignores, takes the whole grid of the input."""
    model = proto(ending)
    weights = np.diag([1, 1, 1, 1, 1, 0]).astype(np.float32)
    model.graph.initializer[-1].CopyFrom(onnx.numpy_helper.from_array(weights, "w"))
    loud = np.array([1, 1, 1, 1, 1, 1e5], np.float32)
    given, path = [{"x": batch["x"] * loud} for batch in batches()], saved(model)
    facts = {}
    for collapse_db in (None, 12.0):
        config = QuantizeConfig(collapse_db=collapse_db, float_layers="none", smooth=False)
        facts[collapse_db] = quantize(path, given, target=vnni, output=tmp_path / "q.onnx", config=config).facts
    assert facts[None].outputs_db < 3
    assert "far from floating point's" in " ".join(facts[None].warnings)
    assert facts[12.0].outputs_db > 100
