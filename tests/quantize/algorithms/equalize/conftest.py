"""A small network with a depthwise convolution whose filters differ by a factor of 100."""

import numpy as np
import onnx
import pytest

MOBILE = """
<ir_version: 10, opset_import: ["" : 21]>
mobile (float[n, 4, 12, 12] x) => (float[n, 8, 6, 6] y) {{
    e = Conv (x, we, be)
    r1 = {first} (e{limits})
    d = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2], group = 16> (r1, wd, bd)
    r2 = {second} (d{limits})
    y = Conv (r2, wp, bp)
}}
"""


def mobile(*, clip: bool) -> onnx.ModelProto:
    """A block whose depthwise filters differ by a factor of 100, as folded batch normalisation leaves them."""
    generator = np.random.default_rng(0)
    name = "Clip" if clip else "Relu"
    text = MOBILE.format(first=name, second=name, limits=", low, high" if clip else "")
    scales = np.exp(generator.uniform(np.log(0.1), np.log(10), 16))
    weights = {
        "we": generator.standard_normal((16, 4, 1, 1)) / scales[:, None, None, None] / 4,
        "be": generator.uniform(0, 0.5, 16) / scales,
        "wd": generator.standard_normal((16, 1, 3, 3)) * scales[:, None, None, None] / 3,
        "bd": generator.uniform(0, 0.5, 16),
        "wp": generator.standard_normal((8, 16, 1, 1)),
        "bp": np.zeros(8),
    } | ({"low": np.array(0), "high": np.array(6)} if clip else {})
    model = onnx.parser.parse_model(text)
    for key, values in weights.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(values.astype(np.float32), key))
    return model


@pytest.fixture
def photos():
    generator = np.random.default_rng(1)
    return [{"x": generator.standard_normal((2, 4, 12, 12)).astype(np.float32)} for _ in range(6)]
