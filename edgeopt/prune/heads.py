"""Which layers make the model's outputs: found by walking back from the outputs through autograd's graph."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from edgeopt.batches import Batch
from edgeopt.models.call import tensors_of, to_tensors
from edgeopt.models.kept import width


def heads(model: nn.Module, sample: Batch) -> list[nn.Module]:
    """Return the layers whose output channels are those of a model output, whatever slices, sums or reshapes lie between.

    From an output the walk goes back to the nearest layers with weights, through everything that leaves channels as they are:
    operators without weights, normalisations, depthwise convolutions. Frozen parameters are not followed.
    """
    made: dict[Any, nn.Module] = {}

    def note(layer: nn.Module, _: Any, output: Any) -> None:
        for tensor in tensors_of(output):
            if tensor.grad_fn is not None:
                made.setdefault(tensor.grad_fn, layer)

    layers = [layer for layer in model.modules() if width(layer, "out") is not None or _is_leaf(layer)]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    try:
        with torch.enable_grad():
            result = model(**to_tensors(sample))
    finally:
        for hook in hooks:
            hook.remove()
    found: dict[nn.Module, None] = {}
    stack, seen = [tensor.grad_fn for tensor in tensors_of(result) if tensor.grad_fn is not None], set()
    while stack:
        step = stack.pop()
        if step in seen:
            continue
        seen.add(step)
        layer = made.get(step)
        if layer is not None:
            found[layer] = None
            if width(layer, "in") is not None:
                continue  # it mixes channels: what lies before has channels of its own
        stack.extend(before for before, _ in step.next_functions if before is not None)
    return list(found)


def _is_leaf(layer: nn.Module) -> bool:
    return not any(layer.children()) and next(layer.parameters(), None) is not None
