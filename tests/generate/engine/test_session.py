"""A graph that is not what its description says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import onnx
import pytest
from onnx import parser

from edgeopt.generate.engine.engine import Engine
from edgeopt.generate.engine.errors import FolderError

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
