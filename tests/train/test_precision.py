"""bf16 where the machine computes with it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgeopt.train.config import TrainOptions
from edgeopt.train.precision import cpu_computes_bf16, precision


class Transformer(nn.Linear):
    def save_pretrained(self) -> None: ...


@pytest.mark.parametrize("capability", ["avx512_bf16", "amx_bf16", "bf16"])
def test_it_follows_the_instructions_of_the_cpu(monkeypatch: pytest.MonkeyPatch, capability: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {capability: True})
    assert cpu_computes_bf16()
    assert precision(TrainOptions(), Transformer(1, 1)) == "bf16"
    assert precision(TrainOptions(), nn.Linear(1, 1)) == "no"
    assert precision(TrainOptions(precision="no"), Transformer(1, 1)) == "no"
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    assert precision(TrainOptions(), Transformer(1, 1)) == "no"
