"""LSTM, GRU and RNN layers as the ONNX operators of that name, over any number of steps.

torch computes the shapes of a recurrent layer by running it step by step, which fixes the number of steps. While a module is
traced the four operators below only state their output shapes; the trace then has one node for all layers and directions, and
the translation turns it into one LSTM, GRU or RNN per layer (https://onnx.ai/onnx/operators/onnx__LSTM.html):

    weights of torch [gates · hidden, in], gates i f g o   →   [directions, gates · hidden, in], gates i o f c
                                           gates r z n     →                                    gates z r h
    Y [steps, directions, batch, hidden]                   →   output [steps, batch, directions · hidden]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from onnxscript import opset18 as op
from torch._decomp import decomposition_table

from edgeopt.errors import ModelError

_ATEN = torch.ops.aten
_ORDERS: dict[str, tuple[int, ...]] = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}
"""Index of torch's gate for each of ONNX's."""


@contextmanager
def any_number_of_steps() -> Iterator[None]:
    """Let recurrent layers be traced without running their steps while the block runs.

    torch takes the shapes from a kernel in Python, or from its table of decompositions once sizes are symbols.
    """
    composite = torch._C.DispatchKey.CompositeImplicitAutograd
    with ExitStack() as stack:
        for operator in _operators():
            tables: list[tuple[dict[Any, Any], Any]] = [(operator.py_kernels, composite), (decomposition_table, operator)]
            for table, key in tables:
                stack.callback(_restore, table, key, table.get(key))
                table[key] = _two_states if operator is _ATEN.lstm.input else _one_state
        yield


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Return the translations of recurrent operators for torch's exporter."""
    return {operator: _translation(*facts) for operator, facts in _operators().items()}


def _operators() -> dict[Any, tuple[str, dict[str, Any]]]:
    return {
        _ATEN.lstm.input: ("LSTM", {}),
        _ATEN.gru.input: ("GRU", {"linear_before_reset": 1}),
        _ATEN.rnn_tanh.input: ("RNN", {}),
        _ATEN.rnn_relu.input: ("RNN", {"activations": "Relu"}),
    }


def _restore(table: dict[Any, Any], key: Any, before: Any) -> None:
    if before is None:
        table.pop(key, None)
    else:
        table[key] = before


def _two_states(inputs: torch.Tensor, states: Sequence[torch.Tensor], *rest: Any) -> tuple[torch.Tensor, ...]:
    """Return tensors with the shapes of lstm's outputs: output, hidden state, cell state."""
    if states[0].shape[2] != states[1].shape[2]:
        raise ModelError("an LSTM with proj_size has no ONNX operator; use one without, with a Linear layer behind it")
    return (*_one_state(inputs, states[0], *rest), states[1].clone())


def _one_state(inputs: torch.Tensor, state: torch.Tensor, *rest: Any) -> tuple[torch.Tensor, ...]:
    """Return tensors with the shapes of the outputs of gru and rnn: output, hidden state."""
    bidirectional = rest[5]
    width = state.shape[2] * (2 if bidirectional else 1)
    return inputs.new_zeros((inputs.shape[0], inputs.shape[1], width)), state.clone()


def _translation(kind: str, attributes: dict[str, Any]) -> Callable[..., Any]:
    def translate(  # noqa: PLR0917  (the signature is torch's)
        inputs: Any,
        states: Any,
        params: Sequence[Any],
        has_biases: bool,
        num_layers: int,
        dropout: float,  # noqa: ARG001  (a module in evaluation mode has none)
        train: bool,  # noqa: ARG001
        bidirectional: bool,
        batch_first: bool,
    ) -> tuple[Any, ...]:
        directions = 2 if bidirectional else 1
        each = 4 if has_biases else 2
        options = dict(attributes)
        if "activations" in options:
            options["activations"] = [options["activations"]] * directions
        steps = op.Transpose(inputs, perm=[1, 0, 2]) if batch_first else inputs
        first = states if kind == "LSTM" else [states]
        last: list[list[Any]] = [[] for _ in first]
        for layer in range(num_layers):
            start = layer * directions
            own = params[start * each : (start + directions) * each]
            given = [_layer(state, start, directions) if num_layers > 1 else state for state in first]
            produced = getattr(op, kind)(
                steps,
                *_weights(own, each, _ORDERS[kind]),
                None,
                *given,
                direction="bidirectional" if bidirectional else "forward",
                hidden_size=first[0].shape[2],
                **options,
            )
            final = layer == num_layers - 1
            steps = _side_by_side(produced[0], directions, batch_first=batch_first and final)
            for collected, state in zip(last, produced[1:], strict=False):
                collected.append(state)
        return (steps, *(op.Concat(*parts, axis=0) if len(parts) > 1 else parts[0] for parts in last))

    return translate


def _layer(state: Any, start: int, directions: int) -> Any:
    bounds = [op.Constant(value_ints=[edge]) for edge in (start, start + directions, 0)]
    return op.Slice(state, *bounds)


def _weights(params: Sequence[Any], each: int, order: tuple[int, ...]) -> list[Any]:
    """Return W, R and B (None without biases) of one layer, with all directions stacked."""
    directions = [params[start : start + each] for start in range(0, len(params), each)]
    axis = op.Constant(value_ints=[0])

    def stacked(parts: list[Any]) -> Any:
        raised = [op.Unsqueeze(part, axis) for part in parts]
        return op.Concat(*raised, axis=0) if len(raised) > 1 else raised[0]

    reordered = [[_reordered(param, order) for param in direction] for direction in directions]
    biases = [op.Concat(*direction[2:], axis=0) for direction in reordered] if each == 4 else []
    return [
        stacked([direction[0] for direction in reordered]),
        stacked([direction[1] for direction in reordered]),
        stacked(biases) if biases else None,
    ]


def _reordered(param: Any, order: tuple[int, ...]) -> Any:
    if len(order) == 1:
        return param
    gates = op.Split(param, num_outputs=len(order), axis=0)
    return op.Concat(*(gates[gate] for gate in order), axis=0)


def _side_by_side(outputs: Any, directions: int, *, batch_first: bool) -> Any:
    """Return [steps, directions, batch, hidden] as [steps, batch, directions · hidden], or with the batch first."""
    if directions == 1:
        joined = op.Squeeze(outputs, op.Constant(value_ints=[1]))
        return op.Transpose(joined, perm=[1, 0, 2]) if batch_first else joined
    turned = op.Transpose(outputs, perm=[2, 0, 1, 3] if batch_first else [0, 2, 1, 3])
    return op.Reshape(turned, op.Constant(value_ints=[0, 0, -1]))
