"""Which mixed precision a training computes in."""

from __future__ import annotations

import torch
from torch import nn

from edgeopt.train.config import TrainOptions


def precision(options: TrainOptions, model: nn.Module) -> str:
    """Return "no", "bf16" or "fp16"; "auto" becomes bf16 where the machine has instructions for it, else "no".

    On CPUs that holds for transformers models; convolutions are not faster there.
    """
    if options.precision != "auto":
        return options.precision
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "no"
    return "bf16" if hasattr(model, "save_pretrained") and cpu_computes_bf16() else "no"


def cpu_computes_bf16() -> bool:
    """Return whether this CPU multiplies bfloat16 matrices in hardware (avx512_bf16, AMX, Arm's bf16)."""
    capabilities = torch.cpu.get_capabilities()
    return any(bool(capabilities.get(name)) for name in ("avx512_bf16", "amx_bf16", "bf16"))
