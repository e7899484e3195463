"""Outputs whose shapes a file states vaguely, not at all or wrongly: the bundle verifies, here and where less is inferred."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgeopt.bundle import BundleSpec, verify_bundle, write_bundle
from edgeopt.bundle.verify import device_verify
from edgeopt.errors import ModelError

_TEXT = """
<ir_version: 8, opset_import: ["" : 17]>
net (float[batch, 4] x) => (float[batch, 3] y, int64[2] shape) { y = MatMul (x, w)  shape = Shape (y) }
"""


def write(folder: Path, output: onnx.ValueInfoProto, **changes: object) -> Path:
    model = onnx.parser.parse_model(_TEXT)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((4, 3), np.float32), "w"))
    model.graph.output[0].CopyFrom(output)
    onnx.save(model, folder / "net.onnx")
    golden = [{"x": np.full((rows, 4), rows, np.float32)} for rows in (1, 2)]
    spec = BundleSpec(model=folder / "net.onnx", name="net", task="generic", target="x86-vnni", golden=golden)
    write_bundle(spec, output=folder / "out")
    return folder / "out"


@pytest.mark.parametrize(
    ("shape", "recorded"),
    [
        (["unk__1", "unk__2"], ["unk__1", "unk__2"]),
        (["batch", None], ["batch", 3]),
        ([None, None], ["batch", 3]),
        (["batch", -1], ["batch", 3]),
        (None, ["batch", 3]),
        (["batch", 3], ["batch", 3]),
    ],
)
def test_a_bundle_of_vague_outputs_verifies(tmp_path: Path, shape: list[object] | None, recorded: list[object]) -> None:
    folder = write(tmp_path, onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, shape))
    assert json.loads((folder / "bundle.json").read_text(encoding="utf-8"))["outputs"][0]["shape"] == recorded
    assert verify_bundle(folder).passed


def test_an_output_whose_rank_depends_on_the_sample_is_refused(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> net (float[batch, 4] x, int64[axes] to) => (float y) { y = Reshape (x, to) }'
    )
    model.graph.output[0].type.tensor_type.ClearField("shape")
    onnx.save(model, tmp_path / "net.onnx")
    x = np.ones((1, 4), np.float32)
    golden = [{"x": x, "to": np.array(to)} for to in ([4], [2, 2])]
    spec = BundleSpec(model=tmp_path / "net.onnx", name="net", task="generic", target="x86-vnni", golden=golden)
    with pytest.raises(ModelError, match="has 1 or 2 axes, by the sample"):
        write_bundle(spec, output=tmp_path / "out")


@pytest.mark.parametrize(
    ("found", "recorded", "inferred", "same"),
    [
        (["batch", 8], ["batch", "features"], True, True),
        (["batch", "features"], ["batch", 8], True, True),
        (["batch", 8], ["batch", "features"], False, False),
        (["batch", 8], ["batch", 9], True, False),
        (["batch", "?"], ["batch", 9], False, True),
        (["n", 8], ["batch", 8], True, False),
        ([], ["batch", 8], True, True),
        ([], ["batch", 8], False, False),
        (["batch"], ["batch", 8], True, False),
    ],
)
def test_axes_that_are_left_open_agree_with_sizes_of_outputs_only(
    found: list[object], recorded: list[object], inferred: bool, same: bool
) -> None:
    assert device_verify().same_axes(found, recorded, inferred) is same


def test_an_input_of_unknown_rank_has_the_axes_of_the_samples(tmp_path: Path) -> None:
    model = onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 17]> net (float x) => (float y) { y = Tanh (x) }')
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.ClearField("shape")
    onnx.save(model, tmp_path / "net.onnx")
    spec = BundleSpec(
        tmp_path / "net.onnx", name="net", task="generic", target="x86-vnni", golden=[{"x": np.ones((2, 3), "f4")}]
    )
    write_bundle(spec, output=tmp_path / "out")
    assert json.loads((tmp_path / "out" / "bundle.json").read_text(encoding="utf-8"))["inputs"][0]["shape"] == ["?", "?"]
    assert verify_bundle(tmp_path / "out").passed


def test_an_output_that_is_listed_twice_is_refused_in_one_line(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> net (float[2] x) => (float[2] y) { y = Tanh (x) }'
    )
    model.graph.output.append(model.graph.output[0])
    onnx.save(model, tmp_path / "net.onnx")
    spec = BundleSpec(tmp_path / "net.onnx", name="net", task="generic", target="x86-vnni", golden=[{"x": np.ones(2, "f4")}])
    with pytest.raises(ModelError, match="output 'y' is listed twice"):
        write_bundle(spec, output=tmp_path / "out")


def test_a_type_that_numpy_does_not_have_is_refused_in_one_line(tmp_path: Path) -> None:
    text = '<ir_version: 9, opset_import: ["" : 19]> net (float[2] x) => (float8e4m3fn[2] y) { y = Cast <to = 17> (x) }'
    onnx.save(onnx.parser.parse_model(text), tmp_path / "net.onnx")
    spec = BundleSpec(tmp_path / "net.onnx", name="net", task="generic", target="x86-vnni", golden=[{"x": np.ones(2, "f4")}])
    with pytest.raises(ModelError, match="'y' is of the type float8_e4m3fn, which numpy does not have"):
        write_bundle(spec, output=tmp_path / "out")
