"""PyTorch compared with its export, module by module."""

import numpy as np
import onnx
import torch

from edgeopt.quantize.inspect.torch_modules import diagnose_export


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.act, self.second = torch.nn.Linear(6, 5), torch.nn.GELU(), torch.nn.Linear(5, 3)

    def forward(self, x):
        return self.second(self.act(self.first(x)))


def test_a_module_exported_wrongly_is_named(tmp_path):
    torch.manual_seed(0)
    net = Net().eval()
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> g (float[n, 6] x) => (float[n, 3] y) '
        "{ a = Gemm <transB = 1> (x, w1, b1) h = Gelu (a) y = Gemm <transB = 1> (h, w2, b2) }"
    )
    for name, values in {"w1": net.first.weight, "b1": net.first.bias, "w2": net.second.weight, "b2": net.second.bias}.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(values.detach().numpy().copy(), name))
    onnx.save_model(model, tmp_path / "good.onnx")
    batches = [{"x": np.random.default_rng(0).standard_normal((4, 6), dtype=np.float32)}]
    assert diagnose_export(net, tmp_path / "good.onnx", batches).ok
    model.graph.node[1].attribute.append(onnx.helper.make_attribute("approximate", "tanh"))
    onnx.save_model(model, tmp_path / "bad.onnx")
    step = diagnose_export(net, tmp_path / "bad.onnx", batches, limit_db=90.0)
    assert (step.ok, step.tensor) == (False, "act")
