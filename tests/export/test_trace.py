"""Tracing: what cannot be recorded is one line that names the model's source, and torch stays silent."""

from __future__ import annotations

import logging
import sys
import warnings

import numpy as np
import onnx_ir as ir
import pytest
import torch

from edgeopt.errors import ModelError
from edgeopt.export import export
from edgeopt.export.axes import Axes
from edgeopt.export.program import Program
from edgeopt.export.trace import quiet, to_onnx, trace


def test_an_axis_the_code_fixes_is_an_error_that_names_it(tmp_path, target):
    class Fixed(torch.nn.Module):
        def forward(self, image, scale):
            return image * 2 if image.shape[1] == 6 else image + scale

    samples = [{"image": np.ones((2, n), np.float32), "scale": np.ones((2, 1), np.float32)} for n in (5, 6)]
    with pytest.raises(ModelError, match=r"axis 1 of input 'image' .* fixes it at 6"):
        export(Fixed(), samples, target=target, output=tmp_path)
    assert not (tmp_path / "model.onnx").exists()


def test_control_flow_on_values_names_the_line(tmp_path, target, capsys):
    class Branching(torch.nn.Module):
        def forward(self, x):
            if x.sum() > 0:
                return x
            return -x

    with pytest.raises(ModelError, match=r"test_trace\.py:\d+: if x\.sum\(\) > 0"):
        export(Branching(), [{"x": np.ones((2, 3), np.float32)}], target=target, output=tmp_path)
    assert capsys.readouterr() == ("", "")


def program(module: torch.nn.Module, **example: torch.Tensor) -> tuple[Program, list[torch.Tensor]]:
    made = Program(module.eval(), list(example))
    made.name_outputs(list(example.values()))
    return made, list(example.values())


def converted(module: torch.nn.Module, axes: Axes, **example: torch.Tensor) -> ir.Model:
    made, values = program(module, **example)
    graph, _ = to_onnx(made, trace(made, values, axes), axes, opset=23, attention="fused")
    return graph


class Sum(torch.nn.Module):
    def forward(self, x, y):
        return {"total": x + y, "twice": x + x}


def test_axes_of_one_name_are_one_axis_and_ends_have_their_names() -> None:
    axes: Axes = {"x": {0: "batch", 1: "steps"}, "y": {0: "batch"}}
    graph = converted(Sum(), axes, x=torch.ones(2, 3), y=torch.ones(2, 1)).graph
    assert [(value.name, str(value.shape)) for value in graph.inputs] == [("x", "[batch,steps]"), ("y", "[batch,1]")]
    assert [value.name for value in graph.outputs] == ["total", "twice"]
    assert [str(value.shape) for value in graph.outputs] == ["[batch,steps]"] * 2


def test_an_axis_that_the_code_reads_as_a_number_is_named() -> None:
    class Reading(torch.nn.Module):
        def forward(self, x):
            return x.reshape(4, -1)[:, :3] if int(x.shape[0]) == 4 else x

    made, values = program(Reading(), x=torch.ones(4, 3))
    with pytest.raises(ModelError, match=r"Reading: axis 0 of input 'x' should be dynamic, but the model's code fixes it at 4"):
        trace(made, values, {"x": {0: "batch"}})


def test_packed_sequences_are_explained_with_what_to_do() -> None:
    class Packing(torch.nn.Module):
        def forward(self, x):
            lengths = torch.full((x.shape[0],), 3)
            packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
            return torch.nn.utils.rnn.pad_packed_sequence(packed, batch_first=True)[0]

    made, values = program(Packing(), x=torch.ones(2, 3, 4))
    with pytest.raises(ModelError, match=r"Packing: packed sequences have no ONNX form.*give the padded batch to the layer"):
        trace(made, values, {"x": {0: "batch"}})


def test_an_error_of_the_model_itself_is_told_with_its_class_and_line() -> None:
    class Failing(torch.nn.Module):
        tracing = False

        def forward(self, x):
            if self.tracing:
                raise KeyError("no such table")
            return x

    made, values = program(Failing(), x=torch.ones(2))
    made.module.tracing = True  # type: ignore[union-attr]
    with pytest.raises(ModelError, match=r"Failing cannot be exported \(.*test_trace\.py:\d+.*\): KeyError: 'no such table'"):
        trace(made, values, {"x": {}})


def test_torch_is_silent_inside_and_as_before_afterwards(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    with pytest.raises(RuntimeError, match="stop"), quiet():
        assert not logger.isEnabledFor(logging.ERROR)
        warnings.warn("torch's own advice", UserWarning, stacklevel=1)  # an error in tests, if it were not silenced
        print("the incomplete graph", file=sys.stderr)
        raise RuntimeError("stop")
    assert logger.level == before
    assert capsys.readouterr().err == ""
    print("heard again", file=sys.stderr)
    assert capsys.readouterr().err == "heard again\n"
