import onnx.helper
import pytest

from edgeopt.graph.files import as_ir, from_proto
from edgeopt.graph.requirements import MINIMUM, latest, minimum_onnxruntime, note_minimum, opsets


def stamped(opset, ir):
    graph = onnx.helper.make_graph([], "g", [], [])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=ir)


@pytest.mark.parametrize(
    ("opset", "ir", "release"),
    [(9, 4, "1.7"), (13, 8, "1.10"), (17, 8, "1.12"), (19, 10, "1.18"), (20, 9, "1.17"), (24, 10, "1.24"), (99, 9, None)],
)
def test_operator_set_and_ir_version_both_count(opset, ir, release):
    model = as_ir(stamped(opset, ir))
    assert minimum_onnxruntime(model) == release
    assert opsets(model) == {"ai.onnx": opset}


@pytest.mark.parametrize(
    ("node", "release"),
    [
        ("MatMulNBits <K = 8, N = 8, bits = 4, block_size = 16> (x, b, s)", "1.16"),
        ("MatMulNBits <K = 8, N = 8, bits = 4, block_size = 16, accuracy_level = 4> (x, b, s)", "1.17"),
        ("MatMulNBits <K = 8, N = 8, bits = 4, block_size = 16> (x, b, s, z)", "1.18"),
        ("MatMulNBits <K = 8, N = 8, bits = 8, block_size = 16, accuracy_level = 4> (x, b, s)", "1.22"),
        ("MatMulNBits <K = 8, N = 8, bits = 8, block_size = 16> (x, b, s)", "1.23"),
        ("GatherBlockQuantized <block_size = 16> (b, i, s)", "1.20"),
        ("QuantizeLinear (x, s, wide)", "1.17"),
        ("QuantizeLinear (x, s, narrow)", "1.12"),
        ("Gelu (x)", "1.12"),
    ],
)
def test_onnxruntimes_own_operators_count(node, release):
    inputs = "float[2, 8] x, uint8[8, 1, 8] b, float[8] s, int64[2] i"
    constants = "<float[1] z = {0}, uint16 wide = {0}, uint8 narrow = {0}>"
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]> '
        f"own ({inputs}) => (float[2, 8] y) {constants} {{ y = com.microsoft.{node} }}"
    )
    assert minimum_onnxruntime(as_ir(model)) == release


def test_the_minimum_replaces_what_was_noted_before():
    proto = stamped(13, 8)
    proto.metadata_props.add(key=MINIMUM, value="0.1")
    proto.metadata_props.add(key="other", value="stays")
    model = from_proto(proto)
    assert note_minimum(model) == "1.10"
    assert model.metadata_props == {"other": "stays", MINIMUM: "1.10"}


def test_the_latest_release_is_told_by_numbers_and_unknown_if_one_is():
    assert latest("1.9", "1.23", "1.20") == "1.23"
    assert latest("1.9", None) is None
