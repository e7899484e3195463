"""Several processes that train one model: shares of a batch, sums over processes, one random state per process.

Gradients are added over processes, not averaged: each process has divided its sums by the counts of the global batch already
(`edgeopt.train.objective`). Batch normalisation computes its statistics per process, as in PyTorch without SyncBatchNorm.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from accelerate import Accelerator
from torch import Tensor, nn

_BUCKET_ELEMENTS = 8_000_000  # of one exchange: 32 MB


def shares(indices: Sequence[int], accelerator: Accelerator, micro_batches: int, *, group: int = 1) -> list[list[int]]:
    """Return this process' share of a batch's samples, divided into micro-batches; `group` consecutive ones stay together."""
    groups = [list(indices[start : start + group]) for start in range(0, len(indices), group)]
    own = groups[accelerator.process_index :: accelerator.num_processes]
    size = -(-len(own) // micro_batches)
    micro = [own[start : start + size] for start in range(0, len(own), size)] if own else []
    return [[index for members in share for index in members] for share in micro]


def total_counts(counts: Iterable[Mapping[str, float]], names: Sequence[str], accelerator: Accelerator) -> dict[str, float]:
    """Return the counts of all micro-batches and processes by part."""
    own = [dict.fromkeys(names, 0.0) | dict(part) for part in counts]
    rows = torch.tensor([[part[name] for name in names] for part in own], dtype=torch.float64)
    values = rows.reshape(-1, len(names)).sum(dim=0)  # (of no row where a batch has fewer samples than there are processes)
    return dict(zip(names, added(values, accelerator).tolist(), strict=True))


def added(values: Tensor, accelerator: Accelerator) -> Tensor:
    """Return the sum of `values` over all processes."""
    if accelerator.num_processes == 1:
        return values
    moved = values.to(accelerator.device, torch.float32 if accelerator.device.type == "mps" else values.dtype)
    total: Tensor = accelerator.reduce(moved, reduction="sum")
    return total.to(values.device)


def add_gradients(parameters: Sequence[nn.Parameter], accelerator: Accelerator) -> None:
    """Replace each gradient by its sum over all processes."""
    if accelerator.num_processes == 1:
        return
    bucket: list[nn.Parameter] = []
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        bucket.append(parameter)
        if sum(item.numel() for item in bucket) >= _BUCKET_ELEMENTS:
            _exchange(bucket, accelerator)
            bucket = []
    _exchange(bucket, accelerator)


def _exchange(bucket: Sequence[nn.Parameter], accelerator: Accelerator) -> None:
    gradients = [parameter.grad for parameter in bucket if parameter.grad is not None]
    if not gradients:
        return
    flat = accelerator.reduce(torch.cat([gradient.reshape(-1).float() for gradient in gradients]), reduction="sum")
    for gradient, part in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def start_equal(module: nn.Module, accelerator: Accelerator) -> None:
    """Give every process the weights of the first one."""
    if accelerator.num_processes == 1:
        return
    from accelerate.utils import broadcast

    for tensor in [*module.parameters(), *module.buffers()]:
        tensor.data.copy_(broadcast(tensor.data))


def random_states(accelerator: Accelerator) -> Tensor:
    """Return the random states of all processes, [processes, bytes]."""
    own = torch.get_rng_state()
    if accelerator.num_processes == 1:
        return own
    return torch.as_tensor(accelerator.gather(own.to(accelerator.device)[None])).cpu()


def agreed(value: float, accelerator: Accelerator) -> float:
    """Return the first process' value in every process."""
    if accelerator.num_processes == 1:
        return value
    from accelerate.utils import broadcast

    return float(broadcast(torch.tensor([value], dtype=torch.float64, device=accelerator.device))[0])
