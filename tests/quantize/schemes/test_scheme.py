"""Every scheme beside static int8, through the stage: loads, stays close, is reported, and nothing is quantized twice."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from edgeopt.errors import ModelError, RecipeError
from edgeopt.graph.requirements import MINIMUM
from edgeopt.quantize import QuantizeConfig, draft, quantize
from edgeopt.quantize.schemes.scheme import SCHEMES as NAMES
from edgeopt.quantize.schemes.scheme import scheme_called, uniform
from edgeopt.targets.target import load_target

WIDE = """
<ir_version: 10, opset_import: ["" : 24]>
wide (int64[n, s] ids) => (float[n, s, 48] y) {
    e = Gather (table, ids)
    h = LayerNormalization <axis = -1> (e, g, b)
    q = MatMul (h, wq)
    k = MatMul (h, wk)
    a = Attention <q_num_heads = 4, kv_num_heads = 4> (q, k, h)
    m = MatMul (a, w1)
    mb = Add (m, b1)
    u = Gelu (mb)
    y = MatMul (u, w2)
}
"""
SHAPES = {
    "table": (600, 64),
    "g": (64,),
    "b": (64,),
    "wq": (64, 64),
    "wk": (64, 64),
    "w1": (64, 128),
    "b1": (128,),
    "w2": (128, 48),
}

# scheme, options, largest share of the original's size, largest relative error
SCHEMES = [
    ("dynamic", {}, 0.35, 0.03),
    ("float16", {}, 0.6, 0.003),
    ("bfloat16", {}, 0.6, 0.01),
    ("weights-int8", {}, 0.4, 0.04),
    ("weights-int8", {"accuracy_level": 0}, 0.4, 0.03),
    ("weights-int4", {}, 0.32, 0.3),
    ("weights-int4", {"symmetric": True, "block_size": 64}, 0.3, 0.35),
    ("weights-int4", {"accuracy_level": 4, "embedding_bits": 4}, 0.3, 0.3),
    ("weights-int4", {"method": "hqq"}, 0.35, 0.3),
    ("weights-int4", {"method": "gptq"}, 0.35, 0.25),
    ("weights-int8", {"method": "gptq", "symmetric": True}, 0.4, 0.04),
]


@pytest.fixture
def path(saved) -> Path:
    generator = np.random.default_rng(0)
    model = onnx.parser.parse_model(WIDE)
    for name, shape in SHAPES.items():
        values = (generator.standard_normal(shape) / np.sqrt(shape[0] if name.startswith("w") else 1)).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    return saved(model)


@pytest.fixture
def tokens():
    generator = np.random.default_rng(3)
    return [{"ids": generator.integers(0, 600, (1, size))} for size in (5, 9, 16, 12)]


@pytest.mark.parametrize(
    ("options", "release"),
    [
        ({"scheme": "static"}, "1.18"),
        ({"scheme": "dynamic"}, "1.18"),
        ({"scheme": "float16"}, "1.18"),
        ({"scheme": "bfloat16"}, "1.18"),
        ({"scheme": "weights-int4"}, "1.18"),
        ({"scheme": "weights-int4", "weights": {"embedding_bits": 4}}, "1.20"),
        ({"scheme": "weights-int8"}, "1.22"),
        ({"scheme": "weights-int8", "weights": {"accuracy_level": 0}}, "1.23"),
    ],
    ids=lambda item: item if isinstance(item, str) else json.dumps(item),
)
def test_the_oldest_onnxruntime_stands_in_facts_and_file(lookup, tokens, tmp_path, options, release):
    config = QuantizeConfig.read(options, where="test")
    result = quantize(lookup, tokens, target=load_target("x86-vnni"), output=tmp_path / "made.onnx", config=config)
    assert result.facts.min_onnxruntime == release
    assert {entry.key: entry.value for entry in onnx.load(result.path).metadata_props}[MINIMUM] == release


@pytest.fixture
def lookup(saved) -> Path:
    """A table right before a product, in operator set 21: its tensors must not be called as onnxruntime calls its own."""
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> '
        "t (int64[n, s] ids) => (float[n, s, 64] y) { e = Gather (t, ids) y = MatMul (e, w) }"
    )
    for name, rows in (("t", 600), ("w", 64)):
        values = np.random.default_rng(0).standard_normal((rows, 64)).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    return saved(model)


def run(path, batch):
    return ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, dict(batch))[0]


@pytest.mark.parametrize("case", SCHEMES, ids=lambda case: "-".join([case[0], *map(str, case[1].values())]))
def test_each_scheme_shrinks_the_model_and_keeps_what_it_computes(path, tokens, tmp_path, vnni, case):
    (scheme, weights, share, error), output = case, tmp_path / "made.onnx"
    config = QuantizeConfig.read({"scheme": scheme, "weights": weights}, where="test")
    result = quantize(path, tokens, target=vnni, output=output, config=config)
    onnx.checker.check_model(output, full_check=True)
    assert result.facts.size_bytes_after < share * result.facts.size_bytes_before
    expected, got = run(path, tokens[1]), run(output, tokens[1])
    relative = float(np.linalg.norm(expected - got) / np.linalg.norm(expected))
    assert 0 < relative < error, f"relative error {relative:.4f}"
    assert result.facts.layers[-1].sqnr_db > -20 * np.log10(error)
    assert all(decision.reason for decision in result.facts.decisions)
    slow = weights.get("method") == "hqq" or (scheme == "weights-int8" and weights.get("accuracy_level") == 0)
    assert len(json.loads(json.dumps(asdict(result.facts), allow_nan=False))["warnings"]) == slow
    assert {node.precision for node in draft(path, tokens, target=vnni, config=config).nodes} - {"float"}


@pytest.mark.parametrize("scheme", ["dynamic", "weights-int8", "weights-int4"])
def test_nothing_is_quantized_twice(path, tokens, tmp_path, vnni, scheme):
    config = QuantizeConfig(scheme=scheme)
    once = quantize(path, tokens, target=vnni, output=tmp_path / "once.onnx", config=config)
    with pytest.raises(ModelError, match="already quantized"):
        quantize(once.path, tokens, target=vnni, output=tmp_path / "twice.onnx", config=config)


def test_a_plan_is_carried_out_again_and_another_schemes_is_refused(path, tokens, tmp_path, vnni):
    first = quantize(path, tokens, target=vnni, output=tmp_path / "a.onnx", config=QuantizeConfig(scheme="weights-int4"))
    plan = json.loads(first.plan_path.read_text())
    chosen = next(node for node in plan["nodes"] if node["precision"] == "int4")
    chosen["precision"] = "float"
    first.plan_path.write_text(json.dumps(plan))
    config = QuantizeConfig(scheme="weights-int4", plan=first.plan_path)
    again = quantize(path, tokens, target=vnni, output=tmp_path / "b.onnx", config=config)
    kinds = {node.name: node.op_type for node in onnx.load(again.path).graph.node}
    assert kinds[chosen["name"]] == "MatMul"
    assert again.facts.size_bytes_after > first.facts.size_bytes_after
    with pytest.raises(RecipeError, match="float16"):
        config = QuantizeConfig(scheme="float16", plan=first.plan_path)
        quantize(path, tokens, target=vnni, output=tmp_path / "c.onnx", config=config)


def test_options_that_do_not_go_together_are_refused(path, tokens, tmp_path, vnni):
    for values, words in (
        ({"scheme": "dynamic", "max_drop": 0.1}, "max_drop"),
        ({"scheme": "dynamic", "max_drop": 0.0}, "max_drop"),
        ({"scheme": "float16", "prefer_faster": True}, "prefer_faster"),
        ({"scheme": "weights-int8", "rounding": "adaptive"}, "rounding"),
        ({"scheme": "float16", "half": {"block_ops": ["Sofmax"]}}, "Sofmax"),
        ({"scheme": "dynamic", "exclude": ["absent"]}, "absent"),
    ):
        with pytest.raises(RecipeError, match=words):
            config = QuantizeConfig.read(values, where="test")
            quantize(path, tokens, target=vnni, output=tmp_path / "no.onnx", config=config, evaluate=lambda path: 1.0)
    assert not (tmp_path / "no.onnx").exists()


def test_every_scheme_has_what_the_stage_calls():
    assert {case[0] for case in SCHEMES} | {"static"} == set(NAMES)  # none is left out above
    rewriting = set()
    for name in NAMES:
        scheme = scheme_called(name)
        assert callable(scheme.convert) and callable(scheme.draft)
        if scheme.REWRITES:
            rewriting.add(name)
    assert rewriting == {"static"}


def test_a_scheme_without_grids_is_described_by_its_types():
    assert (uniform("float16").activation, uniform("float16").weight) == ("float16", "float16")
    blocks = uniform("float32", "int4", per_channel=True)
    assert (blocks.activation, blocks.weight, blocks.per_channel) == ("float32", "int4", True)
