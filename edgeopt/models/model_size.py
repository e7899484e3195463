"""The size of a PyTorch model, as a value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelSize:
    """Parameters (shared ones once), bytes of parameters and buffers, multiply-accumulates of one sample."""

    parameters: int
    size_bytes: int
    macs: int
