"""Small models as ONNX text, and calibration data for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from edgeopt.targets.target import Target, load_target

CONV_NET = """
<ir_version: 10, opset_import: ["" : 21]>
small (float[n, 3, 16, 16] x) => (float[n, 10] y) {
    a = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w1, b1)
    r = Relu (a)
    c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (r, w2, b2)
    s = Add (c, r)
    p = GlobalAveragePool (s)
    f = Flatten (p)
    y = Gemm <transB = 1> (f, w3, b3)
}
"""

TEXT_NET = """
<ir_version: 10, opset_import: ["" : 21]>
encoder (int64[n, s] ids) => (float[n, s, 4] y) {
    e = Gather (table, ids)
    h = LayerNormalization <axis = -1> (e, g, b)
    m = MatMul (h, w1)
    mb = Add (m, b1)
    a = Gelu (mb)
    d = MatMul (a, w2)
    db = Add (d, b2)
    r = Add (db, h)
    n2 = LayerNormalization <axis = -1> (r, g, b)
    y = MatMul (n2, w3)
}
"""


BOTTLENECKS = """
<ir_version: 10, opset_import: ["" : 21]>
net (float[n, 8, 12, 12] x) => (float[n, 10] y) {
    e1 = Conv (x, we, be)
    r1 = Relu (e1)
    d1 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 32> (r1, wd, be)
    s1 = Relu (d1)
    p1 = Conv (s1, wp, bp)
    e2 = Conv (p1, we, be)
    r2 = Relu (e2)
    d2 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 32> (r2, wd, be)
    s2 = Relu (d2)
    p2 = Conv (s2, wp, bp)
    a = Add (p2, p1)
    e3 = Conv (a, we, be)
    r3 = Relu (e3)
    g = GlobalAveragePool (r3)
    f = Flatten (g)
    y = Gemm <transB = 1> (f, wg, bg)
}
"""


def named(model: onnx.ModelProto) -> onnx.ModelProto:
    """Name every node after its first output."""
    for node in model.graph.node:
        node.name = node.output[0]
    return model


def fill(model: onnx.ModelProto, **shapes: tuple[int, ...]) -> onnx.ModelProto:
    """Add initializers of these shapes, normally distributed, always the same."""
    generator = np.random.default_rng(0)
    for name, shape in shapes.items():
        scale = 1 / np.sqrt(max(np.prod(shape[1:]), 1))
        values = (generator.standard_normal(shape) * scale).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    return model


def conv_net() -> onnx.ModelProto:
    return fill(
        onnx.parser.parse_model(CONV_NET),
        w1=(8, 3, 3, 3), b1=(8,), w2=(8, 8, 3, 3), b2=(8,), w3=(10, 8), b3=(10,),
    )  # fmt: skip


def bottlenecks(text: str = BOTTLENECKS, **shapes: tuple[int, ...]) -> onnx.ModelProto:
    own = {
        "we": (32, 8, 1, 1), "be": (32,), "wd": (32, 1, 3, 3), "wp": (8, 32, 1, 1), "bp": (8,), "wg": (10, 32), "bg": (10,)
    }  # fmt: skip
    return named(fill(onnx.parser.parse_model(text), **{**own, **shapes}))


def text_net() -> onnx.ModelProto:
    return fill(
        onnx.parser.parse_model(TEXT_NET),
        table=(50, 16), g=(16,), b=(16,), w1=(16, 32), b1=(32,), w2=(32, 16), b2=(16,), w3=(16, 4),
    )  # fmt: skip


@pytest.fixture
def conv_model() -> onnx.ModelProto:
    return conv_net()


@pytest.fixture
def text_model() -> onnx.ModelProto:
    return text_net()


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[onnx.ModelProto], Path]:
    def save(model: onnx.ModelProto) -> Path:
        path = tmp_path / "model.onnx"
        onnx.save_model(model, path)
        return path

    return save


@pytest.fixture
def images() -> list[dict[str, np.ndarray]]:
    generator = np.random.default_rng(1)
    return [{"x": generator.standard_normal((size, 3, 16, 16), dtype=np.float32)} for size in (4, 1, 3)]


@pytest.fixture
def bottleneck_batches() -> list[dict[str, np.ndarray]]:
    generator = np.random.default_rng(1)
    return [{"x": generator.standard_normal((2, 8, 12, 12)).astype(np.float32)} for _ in range(8)]


@pytest.fixture
def sentences() -> list[dict[str, np.ndarray]]:
    generator = np.random.default_rng(2)
    return [{"ids": generator.integers(0, 50, (1, size))} for size in (3, 9, 5, 12)]


@pytest.fixture
def vnni() -> Target:
    return load_target("x86-vnni")


def sqnr(path, reference, batch):
    expected, got = (
        ort.InferenceSession(file, providers=["CPUExecutionProvider"]).run(None, batch)[0] for file in (reference, path)
    )
    noise = np.square(expected - got).sum()
    return 200.0 if noise == 0 else float(10 * np.log10(np.square(expected).sum() / noise))
