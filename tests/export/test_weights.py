from __future__ import annotations

import pytest
import torch

from edgeopt.export.weights import out_of_memory


def test_weights_leave_and_come_back_shared_ones_too(tmp_path):
    net = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Linear(64, 64))
    net[1].weight = net[0].weight
    view = net[0].weight.detach()[3]
    before = net(torch.ones(1, 64)).detach().clone()
    with pytest.raises(KeyError), out_of_memory(net, tmp_path):
        assert net[0].weight.untyped_storage().nbytes() == 0
        assert (tmp_path / "weights.spill").stat().st_size == 4 * (64 * 64 + 64 + 64)
        raise KeyError
    assert torch.equal(net(torch.ones(1, 64)), before) and torch.equal(view, net[1].weight[3])
    assert not list(tmp_path.iterdir())


def test_mapped_weights_stay_readable(tmp_path):
    from safetensors.torch import load_file, save_file

    net = torch.nn.Linear(300, 300)
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    mapped = torch.nn.Linear(300, 300, device="meta")
    mapped.load_state_dict(load_file(tmp_path / "net.safetensors"), assign=True)
    with torch.no_grad():
        mapped.weight[0] = 7.0  # a private page: handing pages back must not lose it
    with out_of_memory(mapped, tmp_path):
        assert (tmp_path / "weights.spill").stat().st_size == 0
    assert torch.equal(mapped.weight[1:], net.weight[1:]) and (mapped.weight[0] == 7).all()
