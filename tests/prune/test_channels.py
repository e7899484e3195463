"""Pruning: the layers really shrink, the kept indices rebuild the model, the least worthy channels go."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from edgeopt.data.samples import from_arrays
from edgeopt.errors import ModelError, RecipeError
from edgeopt.models.kept import narrow
from edgeopt.models.residual_cnn import ResidualCNN
from edgeopt.models.size import macs, parameters
from edgeopt.prune.channels import prune_channels
from edgeopt.prune.config import PruneOptions
from edgeopt.train.supervised import cross_entropy

IMAGE = {"image": np.random.default_rng(0).random((2, 1, 8, 8)).astype(np.float32)}


def network() -> ResidualCNN:
    torch.manual_seed(0)
    return ResidualCNN(width=16, stages=2, blocks=2).eval()


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize(("share", "round_to"), [(0.5, 4), (0.3, 1), (0.8, 8)])
def test_the_layers_shrink_to_the_share(scope: str, share: float, round_to: int) -> None:
    model = network()
    before = macs(model, IMAGE)
    result = prune_channels(
        model, IMAGE, options=PruneOptions.read({"macs": share, "round_to": round_to, "scope": scope}, where="test")
    )
    assert (result.macs_before, result.macs_after) == (before, macs(model, IMAGE))
    assert 0.7 * share * before < result.macs_after <= share * before
    assert parameters(model) < parameters(network())
    layers = dict(model.named_modules())
    for layer in result.layers:
        assert layers[layer.name].out_channels == layer.channels_after < layer.channels_before
        assert layer.channels_after % round_to == 0


def test_kept_indices_rebuild_the_model_bit_by_bit() -> None:
    model = network()
    kept = prune_channels(model, IMAGE, options=PruneOptions(macs=0.5, round_to=2)).kept
    rebuilt = network()
    narrow(rebuilt, kept)
    assert all(torch.equal(tensor, rebuilt.state_dict()[name]) for name, tensor in model.state_dict().items())
    image = torch.from_numpy(IMAGE["image"])
    assert torch.equal(model(image), rebuilt(image))


def test_the_output_keeps_its_classes() -> None:
    model = network()
    prune_channels(model, IMAGE, options=PruneOptions(macs=0.2, round_to=1, max_layer_share=0.95))
    assert model.head.out_features == 10


def test_channels_without_weight_go_first() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    empty = [1, 4, 6]
    with torch.no_grad():
        model[0].weight[empty] = 0
        model[2].weight[:, empty] = 0
    named = _Named(model)
    kept = prune_channels(named, IMAGE, options=PruneOptions(macs=0.65, round_to=1)).kept
    left = set(kept["layers.0"]["out"])
    assert not left & set(empty), f"empty channels were kept: {sorted(left & set(empty))}"


class _Named(nn.Module):
    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.layers(image)


def test_taylor_importance_uses_the_loss() -> None:
    samples = from_arrays({"image": np.random.default_rng(1).random((8, 1, 8, 8)).astype(np.float32)}, np.arange(8))
    model = network()
    options = PruneOptions(macs=0.5, round_to=2, importance="taylor")
    with pytest.raises(RecipeError, match="needs training data"):
        prune_channels(network(), IMAGE, options=options)
    by_loss = prune_channels(model, IMAGE, options=options, loss=lambda network: cross_entropy(network, samples)).kept
    by_size = prune_channels(network(), IMAGE, options=PruneOptions(macs=0.5, round_to=2)).kept
    assert by_loss != by_size


def test_norm_scale_removes_the_channels_whose_factors_are_smallest() -> None:
    model = network()
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert norms
    for norm in norms:
        with torch.no_grad():
            norm.weight.copy_(torch.where(torch.arange(norm.num_features) < norm.num_features // 2, 0.01, 1.0))
    options = PruneOptions(macs=0.6, round_to=1, importance="norm-scale", scope="layer")
    kept = prune_channels(model, IMAGE, options=options).kept
    left = [norm.weight.detach() for norm in model.modules() if isinstance(norm, nn.BatchNorm2d)]
    assert kept and sum(int((weight < 0.5).sum()) for weight in left) < sum(int((weight > 0.5).sum()) for weight in left)


@pytest.mark.parametrize("importance", ["obs", "fisher", "activations"])
def test_importances_of_transformers_are_refused_for_channels(importance: str) -> None:
    options = PruneOptions.read({"macs": 0.5, "importance": importance}, where="test")
    with pytest.raises(RecipeError, match=f"'{importance}' is for transformers; use magnitude, taylor, norm-scale"):
        prune_channels(network(), IMAGE, options=options)


def test_layers_can_be_spared_and_must_exist() -> None:
    result = prune_channels(network(), IMAGE, options=PruneOptions(macs=0.7, round_to=2, ignore=["blocks.0.conv1"]))
    assert "blocks.0.conv1" not in {layer.name for layer in result.layers}
    with pytest.raises(RecipeError, match=r"did you mean 'blocks\.0\.conv"):
        prune_channels(network(), IMAGE, options=PruneOptions(ignore=["blocks.0.conv"]))


def test_layers_with_one_weight_stay_whole_and_keep_it() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(1, 16, 3)
            self.one, self.two = nn.Conv2d(16, 16, 1), nn.Conv2d(16, 16, 1)
            self.two.weight = self.one.weight
            self.free, self.head = nn.Conv2d(16, 32, 1), nn.Linear(32, 3)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            x = self.two(self.one(self.first(image).relu()).relu()).relu()
            out: torch.Tensor = self.head(self.free(x).relu().mean((2, 3)))
            return out

    torch.manual_seed(0)
    model = Tied().eval()
    result = prune_channels(model, IMAGE, options=PruneOptions(macs=0.9, round_to=2, scope="layer"))
    assert model.two.weight is model.one.weight and model.one.weight.shape == (16, 16, 1, 1)
    assert "'one' and 'two' have one parameter" in result.spared["first"]
    assert result.macs_after < result.macs_before


def test_too_much_is_refused_with_what_helps() -> None:
    with pytest.raises(ModelError, match=r"raise prune\.macs"):
        prune_channels(network(), IMAGE, options=PruneOptions(macs=0.05, round_to=8, max_layer_share=0.3))
