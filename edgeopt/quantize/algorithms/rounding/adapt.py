"""Layer by layer, in the graph's order: round a layer's weights for the inputs it really gets.

For each layer the floating-point model gives the outputs that are wanted and the model with all earlier layers rounded gives
the inputs; H, c and the means of both are summed over the samples (memory: k² numbers for k inputs, whatever the number of
samples) and `solve` rounds. Where the layer has a bias of its own, inputs and outputs are centred and the bias becomes

    b = E[y] - W̃·E[x]

so that no layer's mean output is off: bias correction (https://arxiv.org/abs/1906.04721, equation 17), for what the layers
before do as well.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
from numpy.typing import NDArray

from edgeopt import progress
from edgeopt.batches import Batch
from edgeopt.graph.editing import replace_constant
from edgeopt.graph.matching import array, attribute, constant, name_of, produced_by
from edgeopt.graph.outputs import cut, open_exposed, run
from edgeopt.quantize.algorithms.rounding.rows import as_weight, paired_rows, weight_rows
from edgeopt.quantize.algorithms.rounding.solve import Levels, Moments, solve
from edgeopt.quantize.apply.bias import rounded_layers, store_bias

Floats = NDArray[np.float64]

_ROWS = 256  # of each batch


@dataclass(frozen=True)
class Adapted:
    """What adaptive rounding made of one layer: its output's relative squared error with nearest rounding, and after it."""

    name: str
    before: float
    after: float


def adapt(
    model: ir.Model, quantized: ir.Model, samples: Sequence[Batch], *, threads: int, seconds: float = math.inf
) -> tuple[Adapted, ...]:
    """Choose the integers of all weights in `quantized` again, in place, and its biases; return what that did, layer by layer.

    Args:
        model: prepared, floating point; not changed.
        quantized: its quantized form.
        samples: batches of real inputs; all are used for every layer.
        threads: for running the models.
        seconds: layers not begun by then stay as they are; the first, whose errors all others inherit, come first.
    """
    end = time.monotonic() + seconds
    progress.note(f"adaptive rounding on {len(samples)} batches")
    found = []
    for layer in _layers(model, quantized):
        if time.monotonic() >= end:
            break
        sums = _gather(layer, model, quantized, samples, threads=threads)
        if sums is None:
            continue
        found.append(_round(layer, sums))
    return tuple(found)


@dataclass(frozen=True)
class _Layer:
    """A node of the floating-point model, the same node after quantization, its weight, and how it is stored."""

    node: ir.Node
    there: ir.Node
    weight: NDArray[Any]
    dequantize: ir.Node
    bias: ir.Value | None
    """The bias in the quantized graph, if it can be chosen again for this layer alone."""

    @property
    def fixed(self) -> NDArray[Any] | None:
        """What the layer adds to its products whatever is chosen here: a bias that others read, too, or that has a factor."""
        values = array(self.node.inputs[2]) if self.bias is None and len(self.node.inputs) > 2 else None
        return None if values is None else values * attribute(self.node, "beta", 1.0)


def _layers(model: ir.Model, quantized: ir.Model) -> Iterator[_Layer]:
    """Yield the layers whose weight, rounded, no other node reads."""
    for layer in rounded_layers(model, quantized):
        there, dequantize = layer.there, layer.dequantize
        own = all(value is not None and len(value.consumers()) == 1 for value in (there.inputs[1], dequantize.inputs[0]))
        if layer.node.op_type == "ConvTranspose" or not own:
            continue
        yield _Layer(layer.node, there, layer.weight, dequantize, _own_bias(there))


def _own_bias(there: ir.Node) -> ir.Value | None:
    """Return the bias of a quantized layer, integer or floating point, if that alone reads it, and as it is."""
    bias = there.inputs[2] if len(there.inputs) > 2 else None
    if bias is None or attribute(there, "beta", 1.0) != 1.0:
        return None
    own = constant(bias) is not None and len(bias.consumers()) == 1
    return bias if own or produced_by(bias, "DequantizeLinear") is not None else None


class _Sums:
    """Sums over rows of what `Moments` needs, and of the means."""

    def __init__(self) -> None:
        self.count = 0
        self.parts: list[Floats] = []

    def add(self, x: NDArray[Any], y: NDArray[Any]) -> None:
        """Add rows x [g, n, k] and y [g, n, o]."""
        x, y = x.astype(np.float64), y.astype(np.float64)
        parts = [x.swapaxes(1, 2) @ x, y.swapaxes(1, 2) @ x, np.square(y).sum(axis=1), x.sum(axis=1), y.sum(axis=1)]
        self.parts = [have + new for have, new in zip(self.parts, parts, strict=True)] if self.parts else parts
        self.count += x.shape[1]

    def moments(self, *, centred: bool) -> tuple[Moments, Floats, Floats]:
        """Return the moments, of centred rows if so wanted, and the means of x [g, k] and y [g, o]."""
        inner, cross, power, x, y = (part / self.count for part in self.parts)
        if centred:
            inner = inner - x[:, :, None] * x[:, None, :]
            cross = cross - y[:, :, None] * x[:, None, :]
            power = power - np.square(y)
        return Moments(inner, cross, power), x, y


def _gather(layer: _Layer, model: ir.Model, quantized: ir.Model, samples: Sequence[Batch], *, threads: int) -> _Sums | None:
    """Sum the moments of the layer's rounded input and exact output; None if no sample reaches it."""
    wanted, given = name_of(layer.node.outputs[0]), name_of(layer.there.inputs[0])
    exact, rounded = (open_exposed(cut(part, name), threads=threads) for part, name in ((model, wanted), (quantized, given)))
    generator = np.random.default_rng(0)
    sums = _Sums()
    for number, batch in enumerate(samples):
        y = run(exact, [wanted], _fed(exact, batch), sample=number)[wanted]
        x = run(rounded, [given], _fed(rounded, batch), sample=number)[given]
        inputs, outputs = paired_rows(layer.node, (x, y), layer.weight.shape[2:], limit=_ROWS, generator=generator)
        if layer.fixed is not None:
            outputs = outputs - layer.fixed.reshape(len(outputs), 1, -1)
        sums.add(inputs, outputs)
    return sums if sums.count else None


def _fed(session: ort.InferenceSession, batch: Batch) -> dict[str, NDArray[Any]]:
    wanted = {value.name for value in session.get_inputs()}
    return {name: values for name, values in batch.items() if name in wanted}


def _round(layer: _Layer, sums: _Sums) -> Adapted:
    """Solve, and write integers and bias into the quantized model."""
    weight = weight_rows(layer.node, layer.weight)
    moments, mean_x, mean_y = sums.moments(centred=layer.bias is not None)
    grid, zero = _grid(layer)
    stored = layer.dequantize.inputs[0]
    chosen, before, after = solve(weight, moments, grid)
    numbers = np.round(chosen / grid.step) + zero
    if stored is not None:
        replace_constant(stored, as_weight(layer.node, numbers, layer.weight.shape))
    if layer.bias is not None:
        bias = (mean_y - np.einsum("gok,gk->go", chosen, mean_x)).reshape(-1)
        store_bias(layer.bias, bias)
    power = float(moments.power.sum()) or 1.0
    return Adapted(name_of(layer.node), *(float((item * moments.power).sum()) / power for item in (before, after)))


def _grid(layer: _Layer) -> tuple[Levels, Floats]:
    """Return the grid of the layer's weight, relative to its zero point, and the zero point, [g, o, 1]."""
    numbers = np.asarray(array(layer.dequantize.inputs[0]))
    scale, zero = (np.asarray(array(value), dtype=np.float64) for value in layer.dequantize.inputs[1:3])
    rows = weight_rows(layer.node, numbers)
    shape = (*rows.shape[:2], 1)
    step, zero = (np.broadcast_to(item.reshape(-1), (shape[0] * shape[1],)).reshape(shape) for item in (scale, zero))
    limits = np.iinfo(numbers.dtype)
    low, high = float(max(limits.min, -127)), float(limits.max)
    return Levels(step, low - zero, high - zero), zero
