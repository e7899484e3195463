"""Times of single convolutions and linear layers on a target, by how many inputs and outputs they have.

A layer is timed as an ONNX file that computes it several times on one input and adds the results: conversions of the layout
in which kernels compute, which a whole network does once, then hardly count.

    x ─┬▶ layer ─┐
       ├▶ layer ─┼▶ sum ─▶ y          ms = time / copies
       └▶ layer ─┘
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import onnx_ir as ir
import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from edgeopt import progress
from edgeopt.batches import Batch
from edgeopt.graph import files
from edgeopt.models.kept import is_depthwise
from edgeopt.prune.allocation.layer_costs import products
from edgeopt.prune.latency.bench import Bench
from edgeopt.prune.surgery import outputs_of

_COPIES = 4
_OPSET, _IR_VERSION = 18, 10

Convert = Callable[[Path, Sequence[Batch]], Path]


class LayerTimes:
    """Measures the layers of one network; equal layers of equal sizes are measured once.

    Args:
        model: the network.
        sample: what it is run on.
        benches: opens a bench on the target, where there is something to measure.
        convert: gives the file whose time counts, where that is not the file itself.
    """

    def __init__(
        self,
        model: nn.Module,
        sample: Batch,
        benches: Callable[[], AbstractContextManager[Bench]],
        convert: Convert | None = None,
    ) -> None:
        self.layers, self.benches, self.convert = products(model), benches, convert
        self.shapes = _input_shapes(model, self.layers, sample)
        self.times: dict[str, float] = {}

    def __call__(self, name: str, inputs: int, outputs: int) -> float:
        """Return the ms of the layer `name` with this many inputs and outputs, which `measure` has seen; 0: it is not used."""
        return self.times[self._key(name, inputs, outputs)] if name in self.shapes and inputs and outputs else 0.0

    def measure(self, wanted: Iterable[tuple[str, int, int]]) -> None:
        """Measure layers, by their names, inputs and outputs."""
        new = {}
        for name, inputs, outputs in wanted:
            if name in self.shapes and inputs and outputs:
                new[self._key(name, inputs, outputs)] = name, inputs, outputs
        new = {key: sizes for key, sizes in new.items() if key not in self.times}
        if not new:
            return
        with self.benches() as bench, progress.task("latency of layers", total=len(new)) as advance:
            for key, sizes in sorted(new.items()):
                self.times[key] = self._time(bench, key, *sizes)
                advance()

    def _time(self, bench: Bench, key: str, name: str, inputs: int, outputs: int) -> float:
        known = bench.known_ms(key)
        if known is not None:
            return known / _COPIES
        model, batch = layer_model(self.layers[name], self.shapes[name], inputs, outputs)
        path = bench.file("layer")
        try:
            files.save(model, path)
            found = self.convert(path, [batch]) if self.convert else path
            return bench.time_ms(found, batch, key=key) / _COPIES
        finally:
            for file in path.parent.iterdir():
                file.unlink()

    def _key(self, name: str, inputs: int, outputs: int) -> str:
        described = _described(self.layers[name], self.shapes[name])
        return f"{'converted' if self.convert else 'fp32'} layer\n{described} {inputs} {outputs}"

    def whole(self) -> float:
        """Return the sum of all layers at their own sizes."""
        sizes = [(name, *sizes_of(layer)) for name, layer in self.layers.items()]
        self.measure(sizes)
        return sum(self(*size) for size in sizes)


def sizes_of(layer: nn.Module) -> tuple[int, int]:
    """Return a layer's inputs and outputs."""
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    assert isinstance(layer, _ConvNd)
    return layer.in_channels, layer.out_channels


def layer_model(layer: nn.Module, shape: Sequence[int], inputs: int, outputs: int) -> tuple[ir.Model, Batch]:
    """Return an ONNX model of `layer` with other sizes, and an input for it; the values are random.

    Args:
        layer: a convolution or a linear layer.
        shape: what it was given.
        inputs: how many inputs it has now.
        outputs: how many outputs.
    """
    generator = np.random.default_rng(0)
    axis = 1 if isinstance(layer, _ConvNd) else len(shape) - 1
    given = tuple(inputs if place == axis else size for place, size in enumerate(shape))
    x = ir.Value(name="x", shape=ir.Shape(given), type=ir.TensorType(ir.DataType.FLOAT))
    values, nodes, sums = [], [], []
    for number in range(_COPIES):
        weight = generator.standard_normal(_weight_shape(layer, inputs, outputs)).astype(np.float32) * 0.05
        value = ir.Value(name=f"weight_{number}", const_value=ir.tensor(weight, name=f"weight_{number}"))
        values.append(value)
        nodes.append(_node(layer, x, value, groups=_groups(layer, inputs)))
        sums.append(nodes[-1].outputs[0])
    while len(sums) > 1:
        nodes.append(ir.Node("", "Add", [sums[0], sums[1]]))
        sums = [nodes[-1].outputs[0], *sums[2:]]
    sums[0].name, sums[0].type = "y", ir.TensorType(ir.DataType.FLOAT)
    graph = ir.Graph([x], sums, nodes=nodes, initializers=values, opset_imports={"": _OPSET}, name="layer")
    return ir.Model(graph, ir_version=_IR_VERSION), {"x": generator.standard_normal(given).astype(np.float32)}


def _weight_shape(layer: nn.Module, inputs: int, outputs: int) -> tuple[int, ...]:
    if isinstance(layer, nn.Linear):
        return inputs, outputs
    assert isinstance(layer, _ConvNd)
    first, second = (inputs, outputs) if layer.transposed else (outputs, inputs)
    return first, second // _groups(layer, inputs), *layer.kernel_size


def _groups(layer: nn.Module, inputs: int) -> int:
    """Return the groups of a layer with this many inputs: only a depthwise convolution has fewer when it is narrowed."""
    if not isinstance(layer, _ConvNd):
        return 1
    return inputs if is_depthwise(layer) else layer.groups


def _node(layer: nn.Module, x: ir.Value, weight: ir.Value, *, groups: int) -> ir.Node:
    if isinstance(layer, nn.Linear):
        return ir.Node("", "MatMul", [x, weight])
    assert isinstance(layer, _ConvNd)
    attributes: dict[str, int | Sequence[int] | str] = {
        "strides": layer.stride, "dilations": layer.dilation, "group": groups, "kernel_shape": layer.kernel_size,
    }  # fmt: skip
    if isinstance(layer.padding, str):  # left and right of each axis, the last axis first, as torch.nn.functional.pad has it
        both = layer._reversed_padding_repeated_twice
        attributes["pads"] = [*both[-2::-2], *both[-1::-2]]
    else:
        attributes["pads"] = [*layer.padding, *layer.padding]
    if layer.transposed:
        attributes["output_padding"] = layer.output_padding
    return ir.node("ConvTranspose" if layer.transposed else "Conv", [x, weight], attributes)


def _described(layer: nn.Module, shape: Sequence[int]) -> str:
    if isinstance(layer, _ConvNd):
        groups = _groups(layer, 0)  # 0: as many as channels
        own = f"{layer.kernel_size}{layer.stride}{layer.padding}{layer.dilation}{groups}{layer.transposed}"
    else:
        own = ""
    return f"{type(layer).__name__}{own}{[size for place, size in enumerate(shape) if place != (1 if own else len(shape) - 1)]}"


def _input_shapes(model: nn.Module, layers: Mapping[str, nn.Module], sample: Batch) -> dict[str, tuple[int, ...]]:
    """Return the shape that each layer is given first."""
    shapes: dict[str, tuple[int, ...]] = {}
    hooks = []
    for name, layer in layers.items():

        def note(_: nn.Module, given: tuple[torch.Tensor, ...], name: str = name) -> None:
            shapes.setdefault(name, tuple(given[0].shape))

        hooks.append(layer.register_forward_pre_hook(note))
    try:
        outputs_of(model, sample)
    finally:
        for hook in hooks:
            hook.remove()
    return shapes
