from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch

from edgeopt.export import weights
from edgeopt.export.weights import out_of_memory, save_beside


def test_external_weights_start_on_pages_and_run(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "SLICE_BYTES", 64)
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 20]> g (float[b,40] x) => (float[b,30] y) {y = MatMul(x, w)}'
    )
    w = np.random.default_rng(0).normal(size=(40, 30)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(w, "w"))
    written = save_beside(ir.from_proto(model), tmp_path / "model.onnx")
    saved = onnx.load(written[0], load_external_data=False)
    places = {entry.key: entry.value for entry in saved.graph.initializer[0].external_data}
    assert places["location"] == "model.onnx.data" and int(places.get("offset", 0)) % 4096 == 0
    x = np.ones((2, 40), np.float32)
    np.testing.assert_allclose(ort.InferenceSession(written[0]).run(None, {"x": x})[0], x @ w, rtol=1e-5, atol=1e-5)


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
