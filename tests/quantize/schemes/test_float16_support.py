"""Which nodes float16 is defined for, by ONNX's schemas."""

import onnx
import onnx_ir as ir
import pytest

from edgeopt.graph.files import as_ir
from edgeopt.quantize.plan.cause import Cause
from edgeopt.quantize.schemes.float16_support import float_values, has_subgraphs, refusal

BRANCHES = "then_branch = a () => (float[n] t) { t = Relu (x) }, else_branch = b () => (float[n] e) { e = Neg (x) }"
HEAD = '<ir_version: 10, opset_import: ["" : 21, "my" : 1]> g (float[n] x, int64[n] i, bool flag) => ({kind} y) '


def node_of(body: str, kind: str = "float[n]") -> tuple[ir.Node, frozenset[ir.Value]]:
    model = as_ir(onnx.shape_inference.infer_shapes(onnx.parser.parse_model(HEAD.format(kind=kind) + "{ " + body + " }")))
    return model.graph[0], float_values(model)


@pytest.mark.parametrize(
    ("body", "kind", "cause"),
    [
        ("y = Relu (x)", "float[n]", None),
        ("y = Cast <to = 1> (i)", "float[n]", None),
        ("y = my.Thing (x)", "float[n]", Cause.NOT_STANDARD),
        ("y = NoSuchOperator (x)", "float[n]", Cause.NO_SCHEMA),
        ("y = RandomNormal <shape = [3]> ()", "float[n]", Cause.MAKES_FLOATS),
        ("y = SequenceConstruct (x)", "seq(float[n])", Cause.SEQUENCE),
        (f"y = If (flag) <{BRANCHES}>", "float[n]", Cause.SUBGRAPH),
    ],
)  # fmt: skip
def test_the_schema_decides(body, kind, cause):
    node, floats = node_of(body, kind)
    why = refusal(node, floats, 21)
    assert (why.cause if why is not None else None) == cause
    assert has_subgraphs(node) == (cause is Cause.SUBGRAPH)


def test_float32_tensors_alone_are_values_and_sequences_are_none():
    _, floats = node_of("y = SequenceConstruct (x)", "seq(float[n])")
    assert {value.name for value in floats} == {"x"}
