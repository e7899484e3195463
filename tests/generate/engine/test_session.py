"""A graph that is not what its description says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper, parser

from edgeopt.generate.engine.encoder_decoder import EncoderDecoder
from edgeopt.generate.engine.engine import Engine
from edgeopt.generate.engine.errors import FolderError, RunError
from edgeopt.generate.engine.sampling import Sampling


def failing(source: Path, target: Path, *, graph: str, tokens: str, count: int) -> Path:
    """Copy a folder and let its graph fail unless it reads `count` tokens."""
    folder = shutil.copytree(source, target)
    model = onnx.load(folder / graph)
    model.graph.initializer.append(numpy_helper.from_array(np.array([count], np.int64), "allowed"))
    model.graph.node.insert(0, helper.make_node("Reshape", [tokens, "allowed"], ["flat"], name="fails"))
    model.graph.output.append(helper.make_tensor_value_info("flat", onnx.TensorProto.INT64, [None]))
    onnx.save(model, folder / graph)
    return folder


CLASSIFIER = """
<ir_version: 10, opset_import: ["" : 20]>
small (int64[batch, s] input_ids) => (int64[batch, s] y) { y = Abs(input_ids) }
"""


def test_a_graph_without_a_cache_is_refused(portable: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(portable, tmp_path / "model")
    onnx.save(parser.parse_model(CLASSIFIER), folder / "model.onnx")
    with pytest.raises(FolderError, match=r"has no 'past_key_values.0.key', so it is not a decoder with a cache of 2 layers"):
        Engine.open(folder)


def test_a_damaged_file_is_refused(portable: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(portable, tmp_path / "model")
    (folder / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(FolderError, match="does not load it"):
        Engine.open(folder)


def test_inputs_that_the_graph_lacks_are_not_fed(engine: Engine) -> None:
    assert engine.described.names.positions == "position_ids"
    assert engine.described.names.asked is None or engine.described.shared_cache


def test_a_cache_of_another_type_is_refused(portable: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(portable, tmp_path / "model")
    text = """<ir_version: 10, opset_import: ["" : 20]> other (int64[b, s] input_ids, int8[b, 2, p, 8] k0, int8[b, 2, p, 8] v0)
=> (float[b, s] logits, int8[b, 2, p, 8] pk0, int8[b, 2, p, 8] pv0)
{ logits = Cast <to = 1> (input_ids)  pk0 = Identity (k0)  pv0 = Identity (v0) }"""
    onnx.save(parser.parse_model(text), folder / "model.onnx")
    values = json.loads((folder / "generation.json").read_text(encoding="utf-8"))
    names = {"past_key": "k%d", "past_value": "v%d", "present_key": "pk%d", "present_value": "pv%d"}
    values.update(layers=1, inputs={**values["inputs"], **names}, outputs={**values["outputs"], **names})
    (folder / "generation.json").write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(FolderError, match=r"has a cache of tensor\(int8\) with 4 axes"):
        Engine.open(folder)


@pytest.mark.parametrize("form", ["portable", "decoder_cpu"])
def test_a_graph_that_fails_while_it_decodes_is_named(form: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    folder = failing(request.getfixturevalue(form), tmp_path / "model", graph="model.onnx", tokens="input_ids", count=2)
    engine = Engine.open(folder)
    for prompt in ([5, 6], [5, 6, 7]):
        with pytest.raises(RunError, match=r"model\.onnx: fails while onnxruntime .* runs it: .*Reshape") as caught:
            engine.generate(prompt, Sampling(max_tokens=4, ignore_eos=True))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("half", "tokens"), [("encoder", "input_ids"), ("decoder", "decoder_input_ids")])
def test_either_half_that_fails_is_named(t5: tuple[Any, Path], tmp_path: Path, half: str, tokens: str) -> None:
    folder = failing(t5[1], tmp_path / "model", graph=f"{half}/model.onnx", tokens=tokens, count=99)
    with pytest.raises(RunError, match=rf"{half}.model\.onnx: fails while"):
        EncoderDecoder(folder).generate("a")
