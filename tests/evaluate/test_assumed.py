"""Preprocessing of detectors whose files state none: assumed by what their outputs show, and said."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import parser

from edgeopt.evaluate.assumed import assumed_steps
from edgeopt.graph import files
from edgeopt.graph.provider import Provider

CPU = Provider(name="CPUExecutionProvider")
CELLS = 8 * 8 + 4 * 4 + 2 * 2


def write(path: Path, output: str, body: str, weights: str) -> Path:
    text = (
        f'<ir_version: 10, opset_import: ["" : 20]> net (float[1, 3, 64, 64] x) => (float[{output}] y) <{weights}> {{ {body} }}'
    )
    onnx.save(parser.parse_model(text), path)
    return path


def grid(path: Path, value: float) -> Path:
    zeros = f"int64[3] shape = {{1, {CELLS}, 7}}, int64[4] all = {{0, 1, 2, 3}}, float[1] value = {{{value}}}"
    body = "m = ReduceMean <keepdims = 0> (x, all)  z = Sub(m, m)  s = Add(z, value)  y = Expand(s, shape)"
    return write(path, f"1, {CELLS}, 7", body, zeros)


@pytest.mark.parametrize(
    ("value", "letterbox", "colour", "position"), [(0.5, True, "BGR", "corner"), (50.0, True, "RGB", "centre")]
)
def test_rows_of_cells_and_rows_of_pixels(tmp_path: Path, value: float, letterbox: bool, colour: str, position: str) -> None:
    path = grid(tmp_path / "a.onnx", value)
    steps = assumed_steps(path, files.signature(files.load(path)), CPU)
    assert steps is not None
    assert (steps.width, steps.height, steps.input) == (64, 64, "x")
    assert (steps.letterbox, steps.colour, steps.pad_position) == (True, colour, position)


def test_a_classifier_is_no_detector(tmp_path: Path) -> None:
    path = write(tmp_path / "a.onnx", "1, 3", "y = ReduceMean <keepdims = 0> (x, axes)", "int64[2] axes = {2, 3}")
    assert assumed_steps(path, files.signature(files.load(path)), CPU) is None
