"""The constant behind a layer: what units that went added to its outputs on average is added to a bias.

    y = W x + b,   W → W'      ⇒      b → b + (W − W') mean(x)

With it W' has to make up only for what varies: it is fitted to the inputs' covariance instead of their second moments, which is
least squares with an intercept. The bias is the layer's own, or that of the batch normalisation that alone scales its outputs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from edgeopt.batches import Batch
from edgeopt.models.call import to_tensors


@dataclass(frozen=True)
class Offset:
    """A layer's mean inputs [inputs], and the module whose bias moves its outputs."""

    mean: Tensor
    place: str


def bias_places(model: nn.Module, layers: Iterable[str], sample: Batch) -> dict[str, str]:
    """Return for each of `layers` the module whose bias moves its outputs: itself, or the batch normalisation behind it.

    A normalisation counts that reads this layer alone, of a layer that no other reads: a head that several levels of a detector
    share has one for each, and no bias of one makes up for all.
    """
    modules = dict(model.named_modules())
    wanted = [name for name in layers if not getattr(modules[name], "transposed", False)]
    found = {name: name for name in wanted if isinstance(getattr(modules[name], "bias", None), Tensor)}
    made: dict[int, tuple[str, Tensor]] = {}
    pairs: set[tuple[str, str]] = set()

    def note(name: str) -> Any:
        def hook(_: nn.Module, __: tuple[Any, ...], output: Any) -> None:
            made[id(output)] = name, output  # (kept, so that no other tensor has its id)

        return hook

    def read(name: str) -> Any:
        def hook(layer: nn.Module, given: tuple[Any, ...]) -> None:
            if given and id(given[0]) in made and isinstance(layer.bias, Tensor) and isinstance(layer.running_var, Tensor):
                pairs.add((made[id(given[0])][0], name))

        return hook

    hooks = [modules[name].register_forward_hook(note(name)) for name in wanted if name not in found]
    hooks += [
        module.register_forward_pre_hook(read(name)) for name, module in modules.items() if isinstance(module, _BatchNorm)
    ]
    try:
        with torch.no_grad():
            model.eval()(**to_tensors(sample))
    finally:
        for handle in hooks:
            handle.remove()
    layers_read, readers = Counter(layer for layer, _ in pairs), Counter(norm for _, norm in pairs)
    return found | {layer: norm for layer, norm in pairs if layers_read[layer] == readers[norm] == 1}


def bias_of(model: nn.Module, offset: Offset) -> Tensor:
    """Return a copy of the bias."""
    bias: Tensor = model.get_submodule(offset.place).bias  # type: ignore[assignment]
    return bias.detach().clone()


@torch.no_grad()
def set_bias(model: nn.Module, offset: Offset, whole: Tensor, change: Tensor | None = None) -> None:
    """Set the bias to `whole`, and have it make up for what the layer's weights [outputs, inputs] changed by."""
    module = model.get_submodule(offset.place)
    bias: Tensor = module.bias  # type: ignore[assignment]
    if change is None:
        bias.copy_(whole)
        return
    lost = -(change.double() @ offset.mean).to(bias.dtype)
    if isinstance(module, _BatchNorm) and module.running_var is not None:
        lost = lost * (module.running_var + module.eps).rsqrt() * (1.0 if module.weight is None else module.weight)
    bias.copy_(whole + lost)
