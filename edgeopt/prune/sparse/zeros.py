"""Keep zeros where they are while a model is trained: their gradients are zero, so no optimizer moves them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def kept_zeros(model: nn.Module, names: Iterable[str]) -> Iterator[None]:
    """Keep the weights of the layers `names` that are zero at zero until the context ends."""
    weights = [model.get_parameter(f"{name}.weight") for name in names]
    masks = [weight.detach() != 0 for weight in weights]
    hooks = [
        weight.register_hook(lambda gradient, mask=mask: gradient * mask)  # type: ignore[no-untyped-call]
        for weight, mask in zip(weights, masks, strict=True)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        with torch.no_grad():
            for weight, mask in zip(weights, masks, strict=True):
                weight.mul_(mask)
