"""What operators cost, read from what onnxruntime really ran, against the count from the model file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

from edgeopt.graph.executed import Executed
from edgeopt.graph.files import as_ir
from edgeopt.graph.macs import count_macs
from edgeopt.graph.operator_cost import accuracy_levels, cost
from edgeopt.profile.operators import read_operators
from edgeopt.targets.replies import Operators
from edgeopt.targets.requests import Sent, open_variant, time_operators
from edgeopt.targets.runner import ProcessRunner
from edgeopt.targets.transports.local import this_machine

_NETS = {
    "conv": """<ir_version: 8, opset_import: ["": 17]>
        net (float[N, 6, 12, 12] x) => (float[N, 5] y) {
          [n1] a = Conv <kernel_shape = [3, 3], group = 2, strides = [2, 2]> (x, w1) b = Relu (a)
          [n2] c = ConvTranspose <kernel_shape = [2, 2]> (b, w2) d = GlobalAveragePool (c) e = Flatten (d) [n4] y = Gemm (e, w3)
        }""",
    "matmul": """<ir_version: 8, opset_import: ["": 17]>
        net (float[N, 7, 8] x) => (float[N, 7, 4] y) {
          t = Transpose <perm = [0, 2, 1]> (x) s = MatMul (x, t) p = Softmax (s) c = MatMul (p, x) y = MatMul (c, w)
        }""",
    "lstm": """<ir_version: 8, opset_import: ["": 17]>
        net (float[9, N, 3] x) => (float[9, 1, N, 5] y) { [n3] y = LSTM <hidden_size = 5> (x, w, r) }""",
}
_WEIGHTS = {
    "conv": {"w1": (8, 3, 3, 3), "w2": (8, 4, 2, 2), "w3": (4, 5)},
    "matmul": {"w": (8, 4)},
    "lstm": {"w": (1, 20, 3), "r": (1, 20, 5)},
}
_SHAPES = {"conv": (2, 6, 12, 12), "matmul": (2, 7, 8), "lstm": (9, 2, 3)}


def _made(name: str) -> onnx.ModelProto:
    model = onnx.parser.parse_model(_NETS[name])
    rng = np.random.default_rng(0)
    for weight, shape in _WEIGHTS[name].items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), weight))
    return model


def _operators(model: Path, batch: dict[str, Any], tmp_path: Path) -> Operators:
    np.savez(tmp_path / "in.npz", **{f"0/{name}": array for name, array in batch.items()})
    with _runner() as runner:
        open_variant(runner, "m", Sent(str(model), str(tmp_path / "in.npz"), {}))
        return time_operators(runner, "m", runs=3)


def _runner() -> ProcessRunner:
    runner = this_machine().start()
    assert isinstance(runner, ProcessRunner)
    return runner


@pytest.mark.parametrize("name", list(_NETS))
def test_what_ran_costs_what_the_model_file_says(name: str, tmp_path: Path) -> None:
    model = _made(name)
    onnx.save(model, tmp_path / "m.onnx")
    batch = {"x": np.random.default_rng(1).normal(size=_SHAPES[name]).astype(np.float32)}
    planned = count_macs(as_ir(model), batch)
    insight = read_operators(_operators(tmp_path / "m.onnx", batch, tmp_path), None, planned)
    assert sum(planned.values()) > 0 and insight.macs == sum(planned.values())
    assert insight.int8_macs_share == 0 and insight.floor_ms is None


_QDQ = """<ir_version: 8, opset_import: ["": 17]>
    net (float[N, 16] x) => (float[N, 4] y)
    <float s = {0.1}, uint8 z = {128}, float ws = {0.05}, int8 wz = {0}> {
      q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z) dw = DequantizeLinear (w, ws, wz)
      m = MatMul (d, dw) mq = QuantizeLinear (m, s, z) md = DequantizeLinear (mq, s, z) y = MatMul (md, v)
    }"""


def test_int8_coverage_counts_what_really_ran_in_int8(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(_QDQ)
    rng = np.random.default_rng(0)
    model.graph.initializer.append(onnx.numpy_helper.from_array(rng.integers(-9, 9, (16, 12)).astype(np.int8), "w"))
    model.graph.initializer.append(onnx.numpy_helper.from_array(rng.normal(size=(12, 4)).astype(np.float32), "v"))
    onnx.save(model, tmp_path / "q.onnx")
    reply = _operators(tmp_path / "q.onnx", {"x": np.ones((2, 16), np.float32)}, tmp_path)
    insight = read_operators(reply, None)
    assert insight.macs == 2 * 16 * 12 + 2 * 12 * 4
    assert insight.int8_macs_share == pytest.approx(16 / 20)
    assert insight.conversion_share > 0


@pytest.mark.parametrize(
    ("op", "inputs", "out", "macs", "kind"),
    [
        (
            "QLinearConv",
            [["uint8", [1, 3, 9, 9]], ["float", []], ["uint8", []], ["int8", [8, 3, 3, 3]]],
            [1, 8, 7, 7],
            10584,
            "int8",
        ),
        ("MatMulNBits", [["float", [1, 64, 256]], ["uint8", [512, 8, 16]]], [1, 64, 512], 64 * 256 * 512, "fp32"),
        (
            "Attention",
            [["float", [2, 4, 10, 8]], ["float", [2, 4, 12, 8]], ["float", [2, 4, 12, 6]]],
            [2, 4, 10, 6],
            13440,
            "fp32",
        ),
        (
            "Attention",  # one new token after eleven
            [
                *[["float", [2, 1, 32]]] * 3,
                ["bool", [2, 1, 1, 12]],
                *[["float", [2, 4, 11, 8]]] * 2,
            ],
            [2, 1, 32],
            2 * 2 * 32 * 12,
            "fp32",
        ),
        ("Attention", [["float", [1, 10, 32]], ["float", [32, 96]]], [1, 10, 32], 10 * 32 * 96 + 2 * 10 * 32 * 10, "fp32"),
        ("MatMul", [["float16", [5, 8]], ["float16", [8, 3]]], [5, 3], 120, "fp16"),
        ("MatMul", [["float", [8]], ["float", [8, 3]]], [3], 24, "fp32"),
        ("Relu", [["float", [5, 8]]], [5, 8], 0, None),
        ("Conv", [["float", [1, 3, 9, 9]]], [1, 8, 7, 7], 0, None),
    ],
)
def test_costs_of_single_operators(op: str, inputs: list[Any], out: list[int], macs: int, kind: str | None) -> None:
    found = cost(Executed("n", op, inputs, [("float", out)], 77))
    assert (found.macs, found.kind, found.bytes) == (macs, kind, 77)


@pytest.mark.parametrize(("level", "kind"), [(0, "fp32"), (1, "fp32"), (2, "fp32"), (4, "int8")])
@pytest.mark.parametrize("bits", [4, 8])
def test_blocks_of_weights_compute_as_their_accuracy_level_says(bits: int, level: int, kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weight = rng.integers(0, 256, (48, 2, 32 * bits // 8), dtype=np.uint8)
    attributes = {"K": 64, "N": 48, "bits": bits, "block_size": 32, "accuracy_level": level}
    node = onnx.helper.make_node("MatMulNBits", ["x", "w", "s"], ["y"], name="n", domain="com.microsoft", **attributes)
    ends = [onnx.helper.make_tensor_value_info(name, 1, [3, size]) for name, size in (("x", 64), ("y", 48))]
    scales = onnx.numpy_helper.from_array(np.full((48, 2), 0.1, np.float32), "s")
    constants = [onnx.numpy_helper.from_array(weight, "w"), scales]
    graph = onnx.helper.make_graph([node], "net", ends[:1], ends[1:], constants)
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("com.microsoft", 1)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.save(model, tmp_path / "m.onnx")
    assert accuracy_levels(as_ir(model)) == {"n": level}
    reply = _operators(tmp_path / "m.onnx", {"x": rng.normal(size=(3, 64)).astype(np.float32)}, tmp_path)
    insight = read_operators(reply, None, {}, accuracy_levels(as_ir(model)))
    assert [(it.op, it.macs, it.kind) for it in insight.operators if it.macs] == [("MatMulNBits", 3 * 64 * 48, kind)]
    assert insight.int8_macs_share == (1.0 if kind == "int8" else 0.0)
