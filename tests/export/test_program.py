from __future__ import annotations

import pytest
import torch

from edgeopt.errors import DataError, ModelError
from edgeopt.export.program import Program, evaluating, named_tensors, tensors


def test_outputs_are_named_by_what_forward_returns():
    one = torch.ones(1)
    assert list(named_tensors(one)) == ["output"]
    assert list(named_tensors((one, None))) == ["output"]
    assert list(named_tensors([one, one])) == ["output_0", "output_1"]
    assert list(named_tensors({"logits": one, "cache": object()})) == ["logits"]
    with pytest.raises(ModelError, match="returns str"):
        named_tensors("nothing")


def test_a_program_returns_the_wanted_outputs_in_their_order():
    class Two(torch.nn.Module):
        def forward(self, a, b):
            return {"sum": a + b, "product": a * b}

    program = Program(Two(), ["b", "a"])
    program.name_outputs((torch.ones(2), torch.ones(2)), ["product", "sum"])
    product, total = program(torch.full((2,), 3.0), torch.full((2,), 2.0))
    assert product.tolist() == [6, 6] and total.tolist() == [5, 5]


def test_evaluating_restores_each_part():
    net = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.BatchNorm1d(2))
    net[1].eval()
    with evaluating(net):
        assert not any(part.training for part in net.modules())
    assert net.training and net[0].training and not net[1].training


def test_a_missing_input_is_named():
    with pytest.raises(DataError, match="lacks the input 'b'; it has: a"):
        tensors({"a": torch.ones(1).numpy()}, ["a", "b"])


def test_an_assertion_in_the_models_code_is_an_error_of_the_model():
    class Narrow(torch.nn.Module):
        def forward(self, x):
            assert x.shape[1] == 3, "three channels"
            return x

    with pytest.raises(ModelError, match=r"Narrow cannot run on the samples \(x \[2, 4\]\): three channels"):
        Program(Narrow(), ["x"]).name_outputs([torch.ones(2, 4)])


def test_a_complex_output_is_refused_with_a_way_out():
    class Spectrum(torch.nn.Module):
        def forward(self, x):
            return {"y": torch.fft.fft(x), "z": x}

    with pytest.raises(ModelError, match=r"the output 'y' is complex.*return torch\.view_as_real"):
        Program(Spectrum(), ["x"]).name_outputs([torch.ones(2, 4)])
    Program(Spectrum(), ["x"]).name_outputs([torch.ones(2, 4)], ["z"])
