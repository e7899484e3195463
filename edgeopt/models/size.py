"""Size of a PyTorch model: parameters, bytes, MACs."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from edgeopt.batches import Batch
from edgeopt.models.call import to_tensors
from edgeopt.models.model_size import ModelSize


def measure(model: nn.Module, sample: Batch) -> ModelSize:
    """Return the size of `model`; `sample` is one batch of one sample."""
    return ModelSize(parameters(model), weight_bytes(model), macs(model, sample))


def parameters(model: nn.Module) -> int:
    """Return the number of parameters; shared ones count once."""
    return sum(parameter.numel() for parameter in model.parameters())


def weight_bytes(model: nn.Module) -> int:
    """Return the bytes of parameters and buffers in memory."""
    return sum(tensor.numel() * tensor.element_size() for tensor in [*model.parameters(), *model.buffers()])


def macs(model: nn.Module, sample: Batch) -> int:
    """Return the multiply-accumulates of one pass over `sample`: convolutions and matrix products, by PyTorch's counter."""
    return counted(model, sample)[1]


@torch.no_grad()
def counted(model: nn.Module, sample: Batch) -> tuple[Any, int]:
    """Return what `model` gives for `sample`, and the multiply-accumulates that it took."""
    model.eval()
    with FlopCounterMode(display=False) as counter:
        outputs = model(**to_tensors(sample))
    return outputs, int(counter.get_total_flops()) // 2
