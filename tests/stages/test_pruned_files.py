"""The guarantee after export: what was removed must be missing in the file."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from edgeopt.errors import ModelError
from edgeopt.models.model_size import ModelSize
from edgeopt.stages.pruned_files import ExportedFigures, check_as_pruned, check_fell, figures_of

_BEFORE = ExportedFigures(1000, 5000, 4100)


def test_a_file_that_fell_as_planned_passes() -> None:
    check_fell(_BEFORE, ExportedFigures(700, 2500, 2900), planned=0.5, asked="macs 0.5x")
    check_fell(_BEFORE, ExportedFigures(700, 5000, 2900), planned=0.7, asked="parameters 0.7x")
    check_fell(_BEFORE, ExportedFigures(700, 3000, 2900), planned=0.4, asked="macs 0.4x", module=ModelSize(700, 2800, 3100))


@pytest.mark.parametrize(
    ("after", "message"),
    [
        (ExportedFigures(1000, 2500, 2900), "parameters did not fall: 1,000 of 1,000"),
        (ExportedFigures(700, 5001, 2900), "macs did not fall"),
        (ExportedFigures(700, 2500, 4100), "size bytes did not fall"),
        (ExportedFigures(700, 3500, 2900), "keeps 0.700 of the macs, 0.500 were planned"),
    ],
)
def test_a_file_that_did_not_is_an_error(after: ExportedFigures, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        check_fell(_BEFORE, after, planned=0.5, asked="macs 0.5x")


def test_figures_are_those_of_the_file(tmp_path: Path) -> None:
    import numpy as np

    text = (
        '<ir_version: 8, opset_import: ["" : 17]> g (float[2, 3] x) => (float[2, 4] y) '
        "<float[3, 4] w = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}> { y = MatMul(x, w) }"
    )
    onnx.save(onnx.parser.parse_model(text), tmp_path / "m.onnx")
    found = figures_of(tmp_path / "m.onnx", {"x": np.ones((2, 3), np.float32)})
    assert (found.parameters, found.macs, found.size_bytes) == (12, 24, (tmp_path / "m.onnx").stat().st_size)


@pytest.mark.parametrize(
    ("left", "message"), [(100, None), (40, "the exported file has 10,000 parameters, the pruned model 4,000")]
)
def test_a_file_is_compared_with_the_module_it_was_made_from(tmp_path: Path, left: int, message: str | None) -> None:
    import numpy as np
    from torch import nn

    weight = onnx.numpy_helper.from_array(np.ones((100, 100), np.float32), "w")
    node = onnx.helper.make_node("MatMul", ["input", "w"], ["y"])
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [80, 100]) for name in ("input", "y")]
    graph = onnx.helper.make_graph([node], "g", ends[:1], ends[1:], [weight])
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx"
    )
    module, sample = nn.Linear(100, left, bias=False), {"input": np.ones((80, 100), np.float32)}
    if message is None:
        check_as_pruned(tmp_path / "m.onnx", module, sample)
    else:
        with pytest.raises(ModelError, match=message):
            check_as_pruned(tmp_path / "m.onnx", module, sample)
