import onnx.helper
import pytest

from edgeopt.models.requirements import minimum_onnxruntime, opsets


def stamped(opset, ir):
    graph = onnx.helper.make_graph([], "g", [], [])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=ir)


@pytest.mark.parametrize(
    ("opset", "ir", "release"),
    [(9, 4, "1.7"), (13, 8, "1.10"), (17, 8, "1.12"), (19, 10, "1.18"), (20, 9, "1.17"), (24, 10, "1.24"), (99, 9, None)],
)
def test_operator_set_and_ir_version_both_count(opset, ir, release):
    assert minimum_onnxruntime(stamped(opset, ir)) == release
    assert opsets(stamped(opset, ir)) == {"ai.onnx": opset}
