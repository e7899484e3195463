"""Compiled models in bundles: who compiles, what is written, and what is said where nothing is compiled."""

import json

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest

from edgeopt.bundle import BundleSpec, write_bundle
from edgeopt.bundle.context import difference, name_source
from edgeopt.errors import ModelError, RecipeError
from edgeopt.graph import files
from edgeopt.targets.availability import available
from edgeopt.targets.target import load_target

PRODUCT = """<ir_version: 8, opset_import: ["" : 17]> net (float[{batch}, 4] x) => (float[{batch}, 2] y)
<float[4, 2] w = {{1, 0, -1, 2, 0.5, 3, 0, 1}}> {{ m = MatMul (x, w)  y = Relu (m) }}"""


def spec_for(target, tmp_path, batch="1"):
    onnx.save(onnx.parser.parse_model(PRODUCT.format(batch=batch)), tmp_path / "net.onnx")
    golden = [{"x": np.full((1, 4), number, np.float32)} for number in (0.5, 1.0)]
    return BundleSpec(tmp_path / "net.onnx", "net", "generic", target.name, golden, context=target)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("x86-vnni", "CPUExecutionProvider, of target 'x86-vnni', compiles nothing; name such a target as qnn-htp-emulated"),
        ("node-cpu", "--context compiles on this machine, and target 'node-cpu' is reached by node"),
    ],
)
def test_what_compiles_nothing_here_is_refused_before_anything_is_written(target, said, tmp_path):
    with pytest.raises(RecipeError, match=said):
        write_bundle(spec_for(load_target(target), tmp_path), output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_qnn_compiles_a_model_that_gives_the_same_outputs(tmp_path):
    target = load_target("qnn-htp-emulated")
    if not (found := available(target)).ok:
        pytest.skip("; ".join(found.reasons))
    write_bundle(spec_for(target, tmp_path), output=tmp_path / "out")
    facts = json.loads((tmp_path / "out" / "bundle.json").read_text(encoding="utf-8"))["context"]
    off = facts.pop("difference")
    assert off < 0.01, f"largest difference {off} of the largest output"
    assert facts == {
        **{"file": "context/model.onnx", "provider": "QNNExecutionProvider", "onnxruntime": "1.32.0"},
        **{"samples": 2, "same_outputs": 2},
    }
    [node] = [node for node in files.load(tmp_path / "out" / "context" / "model.onnx").graph if node.op_type == "EPContext"]
    assert node.attributes["source"].as_string() == "QNNExecutionProvider"
    assert (tmp_path / "out" / "context" / node.attributes["ep_cache_context"].as_string()).is_file()


@pytest.mark.slow
def test_a_model_of_which_the_provider_takes_nothing_is_said(tmp_path):
    target = load_target("qnn-htp-emulated")
    if not (found := available(target)).ok:
        pytest.skip("; ".join(found.reasons))
    with pytest.raises(RecipeError, match=r"takes no part of net\.onnx; it wants fixed shapes \(a batch of 1\)"):
        write_bundle(spec_for(target, tmp_path, batch="n"), output=tmp_path / "out")


def test_the_provider_is_named_as_devices_know_it(tmp_path):
    text = """<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]> g (float[1] x) => (float[1] y)
    { z = com.microsoft.EPContext <source = "X.virtual", embed_mode = 0> (x)  y = Relu (z) }"""
    files.save(ir.from_onnx_text(text), tmp_path / "m.onnx")
    name_source(tmp_path / "m.onnx", "X")
    compiled, relu = files.load(tmp_path / "m.onnx").graph
    assert compiled.attributes["source"].as_string() == "X"
    assert compiled.attributes["embed_mode"].as_int() == 0
    assert not relu.attributes


def test_differences_are_shares_of_the_largest_output():
    wanted = np.array([1.0, -4.0, np.inf])
    assert difference([(np.array([1.0, -3.5, np.inf]), wanted), (np.array([2.0]), np.array([1.0]))]) == 0.25
    with pytest.raises(ModelError, match="infinities or NaN"):
        difference([(np.array([np.nan]), np.array([1.0]))])
