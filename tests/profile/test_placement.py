"""Partitions, fallback and who is to blame."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from edgeopt.profile.placement import CPU, all_on_cpu, quantized_macs_share, read_placement, taken_nodes
from edgeopt.targets.replies import Partition, Partitions

_NPU = "AbacusExecutionProvider"
_MODEL = ir.from_onnx_text(
    """<ir_version: 8, opset_import: ["": 17]>
    net (float[4, 4] x) => (float[4, 4] y) {
      [mul] a = MatMul (x, x) [erf] b = Erf (a) [mul2] c = MatMul (b, b) [tanh] d = Tanh (c) [trilu] y = Trilu (d)
    }"""
)


def _reply(**owners: str) -> Partitions:
    ops = {node.name: node.op_type for node in _MODEL.graph}
    return Partitions([Partition(provider, [(name, ops[name])]) for name, provider in owners.items()])


def test_fallback_is_weighed_by_macs_and_its_causes_are_named() -> None:
    reply = _reply(mul=_NPU, mul2=_NPU, tanh=_NPU, erf=CPU, trilu=CPU)
    placement = read_placement(reply, _MODEL, {"mul": 30, "mul2": 10})
    assert placement is not None and placement.partitions == 4 and placement.nodes == {_NPU: 3, CPU: 2}
    assert placement.cpu_fallback_share == 0 and placement.breaks == ["erf (Erf)", "trilu (Trilu)"]
    worse = read_placement(_reply(mul=CPU, erf=CPU, mul2=_NPU, tanh=_NPU, trilu=_NPU), _MODEL, {"mul": 30, "mul2": 10})
    assert (
        worse is not None
        and worse.partitions == 2
        and worse.cpu_fallback_share == pytest.approx(0.75)
        and worse.breaks == ["mul (MatMul)"]
    )


def test_without_macs_nodes_count() -> None:
    placement = read_placement(_reply(mul=_NPU, erf=CPU, mul2=_NPU, tanh=_NPU), _MODEL, {})
    assert placement is not None and placement.cpu_fallback_share == pytest.approx(0.25)


def test_names_that_layout_changes_made_are_led_back() -> None:
    reply = Partitions([Partition(_NPU, [("mul_token_3", "MatMul"), ("Transpose_token_9", "Transpose")])])
    placement = read_placement(reply, _MODEL, {"mul": 5})
    assert placement is not None and placement.nodes == {_NPU: 2}
    assert read_placement(Partitions(None), _MODEL, {}) is None


def test_quantized_share() -> None:
    model = ir.from_onnx_text(
        """<ir_version: 8, opset_import: ["": 17]>
        net (uint8[4, 4] x, float s) => (float[4, 4] y) {
          a = DequantizeLinear (x, s) [q] b = MatMul (a, a) [f] y = MatMul (b, b)
        }"""
    )
    assert quantized_macs_share(model, {"q": 3, "f": 1}) == pytest.approx(0.75)
    assert quantized_macs_share(model, {}) is None
    assert quantized_macs_share(model, {"q": 3, "f": 1}, taken={"f"}) == 0  # its pairs fell back to the CPU
    assert quantized_macs_share(model, {"q": 3, "f": 1}, taken={"q", "f"}) == pytest.approx(0.75)


def test_what_the_provider_took() -> None:
    assert taken_nodes(_reply(mul=_NPU, erf=CPU, mul2=_NPU)) == {"mul", "mul2"}
    assert taken_nodes(Partitions(None)) is None


def test_a_graph_without_nodes_is_one_stretch() -> None:
    empty = ir.from_onnx_text('<ir_version: 8, opset_import: ["": 17]> net (float[1] x) => (float[1] x) {}')
    assert all_on_cpu(empty).partitions == 1
