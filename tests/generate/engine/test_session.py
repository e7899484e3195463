"""A graph that is not what its description says."""

from __future__ import annotations

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
