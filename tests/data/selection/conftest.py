"""A small network of a convolution, pooling and a linear layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

NET = """
<ir_version: 10, opset_import: ["" : 21]>
g (float[n, 3, 8, 8] x) => (float[n, 5] y) {
    a = Conv <kernel_shape = [3, 3]> (x, w1)
    r = Relu (a)
    p = GlobalAveragePool (r)
    f = Flatten (p)
    y = Gemm <transB = 1> (f, w2)
}
"""


@pytest.fixture
def net(tmp_path: Path) -> Path:
    model = onnx.parser.parse_model(NET)
    for name, shape in {"w1": (6, 3, 3, 3), "w2": (5, 6)}.items():
        values = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    onnx.save_model(model, tmp_path / "net.onnx")
    return tmp_path / "net.onnx"
