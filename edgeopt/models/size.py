"""How big a PyTorch model is: parameters, bytes, multiply-accumulates."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from edgeopt.batches import Batch
from edgeopt.models.call import call, to_tensors
from edgeopt.models.model_size import ModelSize


def measure(model: nn.Module, sample: Batch) -> ModelSize:
    """Return how big `model` is; `sample` is one batch of one sample."""
    return ModelSize(parameters(model), weight_bytes(model), macs(model, sample))


def parameters(model: nn.Module) -> int:
    """Return the number of parameters; shared ones count once."""
    return sum(parameter.numel() for parameter in model.parameters())


def weight_bytes(model: nn.Module) -> int:
    """Return the bytes of parameters and buffers in memory."""
    return sum(tensor.numel() * tensor.element_size() for tensor in [*model.parameters(), *model.buffers()])


@torch.no_grad()
def macs(model: nn.Module, sample: Batch) -> int:
    """Return the multiply-accumulates of one pass over `sample`: convolutions and matrix products, by PyTorch's counter."""
    model.eval()
    with FlopCounterMode(display=False) as counter:
        call(model, to_tensors(sample))
    return int(counter.get_total_flops()) // 2
