"""Whatever the graph of a network: it is pruned and rebuilt, or the layers that could not be cut are named."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from edgeopt.errors import ModelError
from edgeopt.models.call import tensors_of
from edgeopt.models.kept import narrow
from edgeopt.prune.channels import PrunedChannels, prune_channels
from edgeopt.prune.config import PruneOptions

IMAGE = {"image": np.random.default_rng(0).random((2, 1, 8, 8)).astype(np.float32)}
Forward = Callable[["Net", torch.Tensor], object]


class Net(nn.Module):
    """Layers by name, and what is done with them."""

    def __init__(self, forward: Forward, **layers: nn.Module | nn.Parameter) -> None:
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self._forward = forward

    def forward(self, image: torch.Tensor) -> object:
        return self._forward(self, image)


def conv(inputs: int, outputs: int, size: int = 3, **options: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, padding=size // 2, **options)


def between(layer: nn.Module, channels: int = 16, width: int = 16) -> Net:
    """Return a network with `layer` between two convolutions, and a head."""
    return Net(
        lambda net, image: net.head(torch.relu(net.last(torch.relu(net.layer(net.first(image))))).mean((2, 3))),
        first=conv(1, channels),
        layer=layer,
        last=conv(width, 16),
        head=nn.Linear(16, 5),
    )


def volume(layer: nn.Module) -> Net:
    return Net(
        lambda net, image: net.head(torch.relu(net.last(net.layer(net.first(image[:, :, None])))).mean((2, 3, 4))),
        first=nn.Conv3d(1, 16, 3, padding=1),
        layer=layer,
        last=nn.Conv3d(16, 16, 3, padding=1),
        head=nn.Linear(16, 5),
    )


def sequence(body: Forward, **layers: nn.Module | nn.Parameter) -> Net:
    return Net(
        lambda net, image: net.head(body(net, net.first(image[:, 0]))), first=nn.Linear(8, 32), head=nn.Linear(32, 5), **layers
    )


NETWORKS: dict[str, Callable[[], Net]] = {
    "transposed": lambda: between(nn.ConvTranspose2d(16, 16, 2, stride=2)),
    "transposed, depthwise": lambda: between(nn.ConvTranspose2d(16, 16, 2, stride=2, groups=16)),
    "grouped": lambda: between(conv(16, 16, groups=4)),
    "depthwise": lambda: between(conv(16, 16, groups=16)),
    "3d": lambda: volume(nn.BatchNorm3d(16)),
    "3d, transposed": lambda: volume(nn.ConvTranspose3d(16, 16, 2)),
    "instance norm": lambda: between(nn.InstanceNorm2d(16, affine=True)),
    "instance norm, tracking": lambda: between(nn.InstanceNorm2d(16, affine=True, track_running_stats=True)),
    "group norm": lambda: between(nn.GroupNorm(4, 16)),
    "slopes": lambda: between(nn.PReLU(16)),
    "one slope": lambda: between(nn.PReLU()),
    "layer norm": lambda: sequence(
        lambda net, x: net.down(torch.relu(net.up(net.norm(x)))).mean(1),
        norm=nn.LayerNorm(32),
        up=nn.Linear(32, 64),
        down=nn.Linear(64, 32),
    ),
    "root mean square norm": lambda: sequence(
        lambda net, x: net.down(torch.relu(net.up(net.norm(x)))).mean(1),
        norm=nn.RMSNorm(32),
        up=nn.Linear(32, 64),
        down=nn.Linear(64, 32),
    ),
    "attention": lambda: sequence(
        lambda net, x: (x + net.mix(x, x, x, need_weights=False)[0]).mean(1), mix=nn.MultiheadAttention(32, 4, batch_first=True)
    ),
    "parameter": lambda: sequence(
        lambda net, x: (net.scale * net.up(x) + x).mean(1), up=nn.Linear(32, 32), scale=nn.Parameter(torch.full((32,), 0.5))
    ),
    "parameter, channels first": lambda: Net(
        lambda net, image: net.head(torch.relu(net.last(net.first(image) * net.scale)).mean((2, 3))),
        first=conv(1, 16),
        scale=nn.Parameter(torch.full((16, 1, 1), 0.5)),
        last=conv(16, 16),
        head=nn.Linear(16, 5),
    ),
    "embedding": lambda: Net(
        lambda net, image: net.head(torch.relu(net.up(net.table((image[:, 0] * 9).long()))).mean((1, 2))),
        table=nn.Embedding(10, 32),
        up=nn.Linear(32, 64),
        head=nn.Linear(64, 5),
    ),
    "concatenated": lambda: Net(
        lambda net, image: net.head(net.last(torch.cat([net.first(image), net.other(image)], 1)).mean((2, 3))),
        first=conv(1, 16),
        other=conv(1, 8),
        last=conv(24, 16),
        head=nn.Linear(16, 5),
    ),
    "used twice": lambda: Net(
        lambda net, image: net.head(torch.relu(net.twice(torch.relu(net.twice(net.first(image))))).mean((2, 3))),
        first=conv(1, 16),
        twice=conv(16, 16),
        head=nn.Linear(16, 5),
    ),
    "sliced": lambda: Net(
        lambda net, image: net.head((net.a(net.first(image)[:, :8]) + net.b(net.first(image)[:, 8:])).mean((2, 3))),
        first=conv(1, 16),
        a=conv(8, 16),
        b=conv(8, 16),
        head=nn.Linear(16, 5),
    ),
}


def pruned(make: Callable[[], Net], **options: object) -> tuple[Net, PrunedChannels]:
    """Prune the network and check that kept indices rebuild it, and that its outputs keep their shapes."""
    torch.manual_seed(0)
    model = make().eval()
    whole = copy.deepcopy(model)
    image = torch.from_numpy(IMAGE["image"])
    shapes = [tensor.shape for tensor in tensors_of(model(image))]
    result = prune_channels(model, IMAGE, options=PruneOptions.read({"macs": 0.7, "round_to": 2, **options}, where="test"))
    narrow(whole, result.kept)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, whole.state_dict()[name]), name
    outputs, again = list(tensors_of(model(image))), list(tensors_of(whole(image)))
    assert [tensor.shape for tensor in outputs] == shapes
    assert all(torch.equal(tensor, other) for tensor, other in zip(outputs, again, strict=True))
    assert result.macs_after <= options.get("macs", 0.7) * result.macs_before  # type: ignore[operator]
    return model, result


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_pruned_is_rebuilt_from_its_kept_channels(name: str) -> None:
    pruned(NETWORKS[name])


HEADS: dict[str, Forward] = {
    "sliced": lambda net, features: net.head(features)[:, :5],
    "reshaped": lambda net, features: net.head(features).view(-1, 2, 4).permute(0, 2, 1),
    "scaled": lambda net, features: torch.log_softmax(net.head(features) * 2 + 1, 1),
    "normalised": lambda net, features: {"logits": net.norm(net.head(features))},
    "summed": lambda net, features: (net.head(features) + net.other(features), features),
    "concatenated": lambda net, features: torch.cat([net.head(features), net.other(features)], 1),
}


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("frozen", [False, True])
def test_heads_are_found_through_whatever_follows_them(name: str, frozen: bool) -> None:
    def make() -> Net:
        layers = {"first": conv(1, 16), "last": conv(16, 16), "head": nn.Linear(16, 8), "other": nn.Linear(16, 8)}
        run: Forward = lambda net, image: HEADS[name](net, torch.relu(net.last(net.first(image))).mean((2, 3)))  # noqa: E731
        net = Net(run, **layers, norm=nn.BatchNorm1d(8))
        return net.requires_grad_(not frozen)

    model, result = pruned(make, round_to=1, max_layer_share=0.5)
    assert model.head.out_features == model.other.out_features == 8  # type: ignore[union-attr]
    assert "head" not in {layer.name for layer in result.layers}


@pytest.mark.parametrize(
    ("mix", "layers", "spared"),
    [
        (lambda net, x: torch.relu(net.up(x)).view(-1, 8, 32).mean(1), {"up": nn.Linear(32, 32)}, {"up"}),
        (lambda net, x: functional.scaled_dot_product_attention(*net.up(x).view(2, 8, 3, 32).unbind(2)).mean(1),
         {"up": nn.Linear(32, 96)}, {"up"}),
        (lambda net, x: net.mix(x)[0][:, -1], {"mix": nn.LSTM(32, 32, batch_first=True)}, {"mix", "first"}),
        (lambda net, x: net.mix(x).mean(1), {"mix": parametrizations.weight_norm(nn.Linear(32, 32))}, {"mix", "first"}),
        (lambda net, x: (x * net.mask).mean(1), {"mask": nn.Buffer(torch.ones(32))}, {"first"}),
    ],
    ids=["view", "attention", "recurrent", "parametrized", "buffer"],
)  # fmt: skip
def test_what_cannot_be_cut_stays_whole_and_is_named(mix: Forward, layers: dict[str, nn.Module], spared: set[str]) -> None:
    def make() -> Net:
        net = sequence(mix, **copy.deepcopy(layers))
        wide, last = nn.Linear(5, 4096), nn.Linear(4096, 5)
        return Net(lambda outer, image: outer.last(torch.relu(outer.wide(outer.inner(image)))), inner=net, wide=wide, last=last)

    _, result = pruned(make, macs=0.5, scope="layer", round_to=8)
    assert {name.removeprefix("inner.") for name in result.spared} == spared
    assert not any(layer.name in result.spared for layer in result.layers)
    assert all(reason for reason in result.spared.values())


def test_a_share_that_spared_layers_put_out_of_reach_names_them_and_what_is_reached() -> None:
    torch.manual_seed(0)
    model = sequence(lambda net, x: net.mix(x)[0].mean(1), mix=nn.LSTM(32, 32, batch_first=True)).eval()
    state = copy.deepcopy(model.state_dict())
    with pytest.raises(ModelError) as found:
        prune_channels(model, IMAGE, options=PruneOptions(macs=0.3))
    said = str(found.value)
    assert '--set \'ignore=["mix", "first"]\'' in said and "LSTM 'mix' cannot be cut" in said and "\n" not in said
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


def test_gradients_are_kept_for_the_second_try() -> None:
    """A try that failed is taken back whole, gradients that the importance reads included."""
    model = sequence(
        lambda net, x: net.down(torch.relu(net.up(x)).view(-1, 8, 32)).mean(1), up=nn.Linear(32, 32), down=nn.Linear(32, 32)
    )
    options = PruneOptions(macs=0.9, importance="taylor", round_to=2)
    result = prune_channels(
        model, IMAGE, options=options, loss=lambda net: net(torch.from_numpy(IMAGE["image"])).square().sum()
    )
    assert set(result.spared) == {"up"} and result.macs_after < result.macs_before
