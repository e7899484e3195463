from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from edgeopt.errors import ModelError
from edgeopt.export import ExportConfig, export

KINDS = {
    "lstm": (torch.nn.LSTM, {}),
    "gru": (torch.nn.GRU, {}),
    "rnn": (torch.nn.RNN, {}),
    "rnn relu": (torch.nn.RNN, {"nonlinearity": "relu"}),
    "two layers both ways": (torch.nn.LSTM, {"num_layers": 2, "bidirectional": True}),
    "gru both ways without biases": (torch.nn.GRU, {"bidirectional": True, "bias": False}),
}


class Layer(torch.nn.Module):
    def __init__(self, kind, **options):
        super().__init__()
        torch.manual_seed(0)
        self.layer = kind(6, 8, **options)

    def forward(self, x, state=None):
        return self.layer(x, state)


def recordings(*steps):
    rng = np.random.default_rng(0)
    return [{"x": rng.normal(size=(2, count, 6)).astype(np.float32)} for count in steps]


@pytest.mark.parametrize("name", KINDS)
def test_a_recurrent_layer_takes_any_number_of_steps_and_gives_its_states(tmp_path, target, name):
    kind, options = KINDS[name]
    model = Layer(kind, batch_first=True, **options)
    result = export(model, recordings(5, 9, 12), target=target, output=tmp_path)
    assert result.inputs[0].shape == ("batch", "x_axis1", 6)
    assert result.op_counts[kind.__name__] == options.get("num_layers", 1)
    assert not {"Loop", "Split", "Unsqueeze"} & set(result.op_counts), "its weights are constants, its steps no loop"
    names = ["output_0", "output_1.0", "output_1.1"] if kind is torch.nn.LSTM else ["output_0", "output_1"]
    assert [value.name for value in result.outputs] == names
    session = ort.InferenceSession(result.path)
    for batch, steps in ((1, 1), (3, 40)):
        x = torch.randn(batch, steps, 6)
        output, states = model.eval()(x)
        wanted = [output, *(states if isinstance(states, tuple) else [states])]
        for found, expected in zip(session.run(names, {"x": x.numpy()}), wanted, strict=True):
            np.testing.assert_allclose(found, expected.detach().numpy(), atol=1e-5)
    weights = {tensor.name: tuple(tensor.dims) for tensor in onnx.load(result.path).graph.initializer}
    directions, gates = 1 + options.get("bidirectional", False), {"LSTM": 4, "GRU": 3, "RNN": 1}[kind.__name__]
    assert weights["layer.W"] == (directions, gates * 8, 6) and weights["layer.R"] == (directions, gates * 8, 8)


@pytest.mark.parametrize("name", ["two layers both ways", "gru", "rnn"])
def test_what_follows_a_recurrent_layer_keeps_the_number_of_steps_open(tmp_path, target, name):
    kind, options = KINDS[name]

    class Tagger(Layer):
        def forward(self, x):
            return self.head(self.layer(x)[0])

    model = Tagger(kind, batch_first=True, **options)
    model.head = torch.nn.Linear(8 * (1 + options.get("bidirectional", False)), 3)
    result = export(model, recordings(5, 9, 12), target=target, output=tmp_path)
    assert result.outputs[0].shape == ("batch", "x_axis1", 3)
    x = torch.randn(3, 40, 6)
    (found,) = ort.InferenceSession(result.path).run(None, {"x": x.numpy()})
    np.testing.assert_allclose(found, model.eval()(x).detach().numpy(), atol=1e-5)


def test_states_go_in_by_the_path_to_them_and_time_may_come_first(tmp_path, target):
    rng = np.random.default_rng(0)

    def sample(steps, rows):
        drawn = {"x": (steps, rows, 6), "state.0": (1, rows, 8), "state.1": (1, rows, 8)}
        return {name: rng.normal(size=shape).astype(np.float32) for name, shape in drawn.items()}

    axes = {"x": {0: "steps", 1: "batch"}, "state.0": {1: "batch"}, "state.1": {1: "batch"}}
    samples = [sample(4, 2), sample(7, 3)]
    result = export(Layer(torch.nn.LSTM), samples, target=target, output=tmp_path, config=ExportConfig(axes=axes))
    assert [(value.name, value.shape) for value in result.inputs] == [
        ("x", ("steps", "batch", 6)),
        ("state.0", (1, "batch", 8)),
        ("state.1", (1, "batch", 8)),
    ]
    assert result.parity.relative_error < 1e-5


def test_a_projected_lstm_is_refused_with_a_way_out(tmp_path, target):
    with pytest.raises(ModelError, match="proj_size has no ONNX operator; use one without"):
        export(Layer(torch.nn.LSTM, proj_size=3, batch_first=True), recordings(5, 9), target=target, output=tmp_path)


def test_torch_runs_its_own_steps_again_afterwards():
    from edgeopt.export.recurrent import any_number_of_steps

    key = torch._C.DispatchKey.CompositeImplicitAutograd
    before = torch.ops.aten.lstm.input.py_kernels.get(key)
    with any_number_of_steps():
        assert torch.ops.aten.lstm.input.py_kernels.get(key) is not before
    assert torch.ops.aten.lstm.input.py_kernels.get(key) is before


class Packed(torch.nn.Module):
    """Sequences of different lengths, packed for the recurrent layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.LSTM(6, 8, batch_first=True)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return the outputs, padded again."""
        packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return torch.nn.utils.rnn.pad_packed_sequence(self.layer(packed)[0], batch_first=True)[0]


def test_packed_sequences_are_refused_with_a_way_out(tmp_path, target):
    rng = np.random.default_rng(0)
    samples = [{"x": rng.normal(size=(3, 5, 6)).astype(np.float32), "lengths": np.array([5, 3, 2])}]
    with pytest.raises(ModelError, match=r"packed sequences have no ONNX form"):
        export(Packed(), samples, target=target, output=tmp_path)
