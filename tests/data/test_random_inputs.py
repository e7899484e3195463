"""Shapes of random inputs: named axes, batches, and no guess where the size of an image decides the time."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx.parser
import pytest

from edgeopt.data.random_inputs import random_batches
from edgeopt.errors import DataError


def _saved(inputs: str, folder: Path) -> Path:
    names = [part.split("] ")[1] for part in inputs.split(";")]
    nodes = " ".join(f"y{number} = Identity ({name})" for number, name in enumerate(names))
    kinds = [part.split("[")[0].strip() for part in inputs.split(";")]
    outputs = ", ".join(f"{kind}[...] y{number}" for number, kind in enumerate(kinds))
    text = f'<ir_version: 8, opset_import: ["": 17]> net ({inputs.replace(";", ",")}) => ({outputs}) {{ {nodes} }}'
    onnx.save(onnx.parser.parse_model(text.replace("[...]", "")), folder / "net.onnx")
    return folder / "net.onnx"


@pytest.mark.parametrize(
    ("inputs", "shapes"),
    [
        ("float[batch, 3, 224, 224] x", [(1, 3, 224, 224)]),
        ("int64[batch, sequence] ids; int64[batch, sequence] attention_mask", [(1, 64), (1, 64)]),
        ("float[batch, 4, past_sequence, 16] past", [(1, 4, 64, 16)]),  # a cache is no image
        ("float[time, 16] x; float[1, 32] state", [(64, 16), (1, 32)]),
        ("float[batch, frames, 80] x", [(1, 64, 80)]),
    ],
)
def test_shapes(inputs: str, shapes: list[tuple[int, ...]], tmp_path: Path) -> None:
    batches = random_batches(_saved(inputs, tmp_path), count=2)
    assert [[array.shape for array in batch.values()] for batch in batches] == [shapes, shapes]


@pytest.mark.parametrize(
    ("inputs", "axes"),
    [
        ("float[batch, 3, height, width] image", "2 and 3"),
        ("float[1, 1, 48, width] line", "3"),  # it was taken 64 wide
        ("float[N, 3, s0, s1] x", "2 and 3"),
        ("uint8[batch, h, w, 3] x", "1 and 2"),
        ("float[3, height, width] x", "1 and 2"),
    ],
)
def test_open_sides_of_an_image_need_data(inputs: str, axes: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"leaves axis {axes} open.*give real inputs with --data"):
        random_batches(_saved(inputs, tmp_path))


def test_an_axis_without_a_name_is_never_one_pixel(tmp_path: Path) -> None:
    path = _saved("float[1, 3, 32, 320] x", tmp_path)
    model = onnx.load(path)
    for place in (0, 2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[place].Clear()
    onnx.save(model, path)
    with pytest.raises(DataError, match="leaves axis 2 and 3 open"):
        random_batches(path)


def test_sizes_that_are_given_are_taken(tmp_path: Path) -> None:
    path = _saved("float[batch, 3, height, width] image", tmp_path)
    [batch] = random_batches(path, count=1, sizes={"height": 48, "width": 320})
    assert batch["image"].shape == (1, 3, 48, 320)


def test_inputs_that_would_fill_the_memory_are_refused(tmp_path: Path) -> None:
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[n, 8] x) => (float[n, 8] y) { y = Relu (x) }'
    onnx.save(onnx.parser.parse_model(text), tmp_path / "m.onnx")
    with pytest.raises(DataError, match=r"8 random inputs of the shape \[99999999999, 8\] take 51,200 GB; ask for smaller"):
        random_batches(tmp_path / "m.onnx", sizes={"n": 99999999999})
