"""Weights alone as blocks of integers: which matrices, by which method, and the form they are written in."""

import numpy as np
import onnx
import pytest

from edgeopt.errors import RecipeError
from edgeopt.quantize import QuantizeConfig, draft, quantize
from edgeopt.quantize.plan.cause import Cause

NODES = """
<ir_version: 10, opset_import: ["" : 21]>
net (int64[n, s] ids, float[96, 96] given) => (float[n, s, 8] y) {
    e = Gather (table, ids)
    large = MatMul (e, w9696)
    tied = MatMul (large, w9696)
    both = MatMul (tied, given)
    left = MatMul (both, w9696b)
    y = MatMul (left, w968)
}
"""
WEIGHTS = {"table": (200, 96), "w9696": (96, 96), "w9696b": (96, 96), "w968": (96, 8)}


@pytest.fixture
def path(saved):
    generator, model = np.random.default_rng(0), onnx.parser.parse_model(NODES)
    for name, shape in WEIGHTS.items():
        values = (generator.standard_normal(shape) / 10).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    for node in model.graph.node:
        node.name = node.output[0]
    return saved(model)


@pytest.fixture
def tokens():
    generator = np.random.default_rng(3)
    given = np.eye(96, dtype=np.float32)
    return [{"ids": generator.integers(0, 200, (1, size)), "given": given} for size in (5, 9, 12)]


def made(path, tokens, tmp_path, target, **values):
    config = QuantizeConfig.read({"exclude": ["left"], **values}, where="test")
    result = quantize(path, tokens, target=target, output=tmp_path / "made.onnx", config=config)
    return result, onnx.load(result.path).graph


@pytest.mark.parametrize(("scheme", "precision"), [("weights-int8", "int8"), ("weights-int4", "int4")])
def test_each_matrix_has_its_cause(path, tokens, vnni, scheme, precision):
    plan = draft(path, tokens, target=vnni, config=QuantizeConfig(scheme=scheme, exclude=["left"]))
    assert {node.name: (node.precision, node.cause) for node in plan.nodes} == {
        "large": (precision, Cause.WEIGHTS_ALONE),
        "tied": (precision, Cause.WEIGHTS_ALONE),
        "both": ("float", Cause.TWO_ACTIVATIONS),
        "left": ("float", Cause.EXCLUDED),
        "y": ("float", Cause.SMALL),
    }


@pytest.mark.parametrize("method", ["rtn", "hqq", "gptq"])
def test_nodes_keep_their_names_and_have_the_options(path, tokens, tmp_path, vnni, method):
    weights = {"method": method, "accuracy_level": 4, "block_size": 32}
    _, graph = made(path, tokens, tmp_path, vnni, scheme="weights-int4", weights=weights)
    blocks = {node.name: node for node in graph.node if node.op_type == "MatMulNBits"}
    assert set(blocks) == {"large", "tied"}
    for node in blocks.values():
        values = {item.name: item.i for item in node.attribute}
        assert (values["K"], values["N"], values["bits"], values["block_size"]) == (96, 96, 4, 32)
        assert values["accuracy_level"] == 4
    kept = {item.name for item in graph.initializer}
    assert {"w9696b", "w968"} <= kept and not {"table", "w9696"} & kept


def test_the_feedback_of_errors_looks_at_samples_and_rounding_at_none(path, tokens, tmp_path, vnni):
    for method, samples in (("rtn", 0), ("gptq", 3)):
        result, _ = made(path, tokens, tmp_path, vnni, scheme="weights-int4", weights={"method": method})
        assert result.facts.samples == samples, method


@pytest.mark.parametrize("kind", [(8, "Gather"), (4, "GatherBlockQuantized")])
def test_the_table_is_read_in_the_bits_asked_for(path, tokens, tmp_path, vnni, kind):
    bits, operator = kind
    weights = {"embedding_bits": bits}
    result, graph = made(path, tokens, tmp_path, vnni, scheme="weights-int4", weights=weights)
    assert operator in {node.op_type for node in graph.node}
    assert [d.choice for d in result.facts.decisions if d.what == "embeddings"] == [f"1 tables as int{bits}"]
    _, graph = made(path, tokens, tmp_path, vnni, scheme="weights-int4", weights=weights, embeddings=False)
    assert "table" in {item.name for item in graph.initializer}


def test_small_matrices_alone_leave_the_model_as_it_was(saved, tmp_path, vnni):
    text = '<ir_version: 10, opset_import: ["" : 21]> t (float[n, 4] x) => (float[n, 4] y) { y = MatMul (x, w) }'
    model = onnx.parser.parse_model(text)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.eye(4, dtype=np.float32), "w"))
    batches = [{"x": np.ones((1, 4), np.float32)}]
    config = QuantizeConfig(scheme="weights-int4")
    result = quantize(saved(model), batches, target=vnni, output=tmp_path / "made.onnx", config=config)
    assert [node.op_type for node in onnx.load(result.path).graph.node] == ["MatMul"]
    assert any("no constant matrix is large enough" in warning for warning in result.facts.warnings)


def test_options_that_do_not_go_together_are_refused(path, tokens, tmp_path, vnni):
    with pytest.raises(RecipeError, match="4 bits"):
        made(path, tokens, tmp_path, vnni, scheme="weights-int8", weights={"method": "hqq"})
    with pytest.raises(RecipeError, match="symmetric"):
        made(path, tokens, tmp_path, vnni, scheme="weights-int4", weights={"method": "hqq", "symmetric": True})
    assert not (tmp_path / "made.onnx").exists()
