"""Zeros layer by layer: every family, the order of layers, layers outside of stacks, convolutions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers
from torch import nn

from edgeopt.data.samples import from_arrays
from edgeopt.prune.calibration import columns_of
from edgeopt.prune.sparse.layerwise import candidates, sparsify
from edgeopt.prune.sparse.pattern import read_pattern
from edgeopt.prune.sparse.wanda import sparse as wanda
from edgeopt.prune.structure.parts import rows_of
from tests.prune.tiny_models import BOTH, DECODERS, ENCODERS, IMAGES, tiny

_HALF = read_pattern("0.5")


@pytest.mark.parametrize("family", [*ENCODERS, *IMAGES, *DECODERS, *BOTH])
def test_every_family_loses_half_of_its_weights(family: str) -> None:
    model, batch, _ = tiny(family)
    found = sparsify(model, from_arrays(batch), pattern=_HALF, method="sparsegpt")
    assert found and all(abs(layer.zeros / layer.weights - 0.5) < 0.05 for layer in found)
    assert all(int((rows_of(model.get_submodule(one.name)) == 0).sum()) == one.zeros for one in found)


def test_later_layers_see_what_the_sparse_ones_before_them_give() -> None:
    model, batch, _ = tiny("bert")
    samples = from_arrays({name: array[:2] for name, array in batch.items()})
    dense, _, _ = tiny("bert")
    sparsify(model, samples, pattern=_HALF, method="wanda")
    name = "bert.encoder.layer.1.intermediate.dense"
    for other in [name for name, layer in dense.named_modules() if isinstance(layer, nn.Linear) and ".layer.0." in name]:
        dense.get_submodule(other).weight.data.copy_(model.get_submodule(other).weight)
    seen = []
    dense.get_submodule(name).register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    with torch.no_grad():
        dense(**{name: torch.from_numpy(array) for name, array in samples.collate([0, 1]).items()})
    x = torch.cat([value.flatten(0, 1) for value in seen]).double()
    expected = wanda(dense.get_submodule(name).weight.detach(), x.T @ x / len(x), _HALF)
    assert torch.equal(model.get_submodule(name).weight, expected)


def test_convolutions_lose_weights_and_the_outputs_layer_does_not() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.Flatten(), nn.Linear(72, 4)
    )
    wrapped = _Named(model)
    samples = from_arrays({"x": np.random.default_rng(0).normal(size=(4, 3, 5, 5)).astype(np.float32)})
    assert candidates(wrapped, samples) == ["inner.0"]
    found = sparsify(wrapped, samples, pattern=read_pattern("2:4"), method="sparsegpt")
    assert [(layer.weights, layer.zeros) for layer in found] == [(216, 8 * 12)]  # 27 inputs: six groups of four, three are left


def test_windows_are_what_a_convolution_multiplies() -> None:
    layer = nn.Conv2d(3, 5, 3, stride=2, padding=1, bias=False)
    x = torch.randn(2, 3, 7, 7)
    expected = layer(x).permute(0, 2, 3, 1).reshape(-1, 5)
    assert torch.allclose(columns_of(layer, x) @ rows_of(layer).T, expected, atol=1e-5)


class _Named(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x)


def test_convolutions_of_a_transformers_network_lose_weights() -> None:
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1], layer_type="basic", num_labels=3)
    model = transformers.ResNetForImageClassification(config).eval()
    samples = from_arrays({"pixel_values": np.random.default_rng(0).random((2, 3, 32, 32)).astype(np.float32)})
    found = sparsify(model, samples, pattern=read_pattern("0.5"), method="magnitude")
    assert len(found) == 3 and all("convolution" in layer.name and layer.zeros >= 0.49 * layer.weights for layer in found)


class _Pile(nn.Module):
    """A layer that is called with all results before it, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.own = nn.Linear(8, 8)

    def forward(self, results: list[torch.Tensor]) -> list[torch.Tensor]:
        return [self.own(results[0]).relu(), *results]


class _Piled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([_Pile(), _Pile()])
        self.head = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        results = self.layers[0]([x])
        return self.head(self.layers[1](results=results)[0])


def test_layers_that_pass_on_lists_are_run_with_the_whole_model() -> None:
    samples = from_arrays({"x": np.random.default_rng(0).random((4, 8)).astype(np.float32)})
    found = sparsify(_Piled().eval(), samples, pattern=read_pattern("2:4"), method="sparsegpt")
    assert [(layer.name, layer.zeros) for layer in found] == [("layers.0.own", 32), ("layers.1.own", 32)]
