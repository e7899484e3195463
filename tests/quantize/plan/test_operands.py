"""Which inputs of an operator are read rounded."""

import onnx
import onnx_ir as ir
import pytest

from edgeopt.quantize.plan.operands import Operands, channel_axis, operands

HEAD = (
    '<ir_version: 10, opset_import: ["" : 21]> '
    "g (float[2, 3, 4, 4] x, float[2, 3, 4, 4] z, bool[2, 3, 4, 4] c, int64[4] s) => (float y)"
)
CONSTANTS = "<float[3, 3, 1, 1] w, float[3] b, float[8] pads, float zero = {0.0}, float one = {1.0}, int64[8] p>"


def found(body: str) -> Operands:
    model = ir.from_proto(onnx.parser.parse_model(f"{HEAD} {CONSTANTS} {{ {body} }}"))
    for name, value in model.graph.initializers.items():
        assert value.const_value is not None or name
    node = next(iter(model.graph))
    for value in node.outputs:
        value.type = ir.TensorType(ir.DataType.FLOAT)
    return operands(node)


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("y = Add (x, z)", Operands((0, 1), (0,))),
        ("y = Mul (x, one)", Operands((0, 1), (0,))),
        ("y = Where (c, x, z)", Operands((1, 2), (0,))),
        ("y = Reshape (x, s)", Operands((0,), (0,), shares=True)),
        ("y = Relu (x)", Operands((0,), (0,))),
        ("y = Clip (x, zero, one)", Operands((0,), (0,))),
        ("y = Resize (x, , , s)", Operands((0,), (0,), shares=True)),
        ("y, t = Split <num_outputs = 2> (x)", Operands((0,), (0, 1), shares=True)),
        ("y = Pad (x, p)", Operands((0,), (0,), shares=True)),
        ("y = Pad (x, p, zero)", Operands((0, 2), (0,), shares=True)),
        ("y = Pad (x, p, one)", Operands((0, 2), (0,))),
        ('y = Pad <mode = "edge"> (x, p)', Operands((0,), (0,), shares=True)),
        ("y = MatMul (x, z)", Operands((0, 1), (0,))),
        ("y = Conv (x, z)", Operands((0, 1), (0,))),
    ],
)
def test_each_kind_of_operator(body, wanted):
    assert found(body) == wanted


def test_the_output_channels_of_a_weight():
    def axis(text: str) -> int:
        return channel_axis(next(iter(ir.from_proto(onnx.parser.parse_model(f"{HEAD} {{ {text} }}")).graph)))

    assert axis("y = Conv (x, z)") == axis("y = Gemm <transB = 1> (x, z)") == 0
    assert axis("y = ConvTranspose (x, z)") == axis("y = Gemm (x, z)") == axis("y = MatMul (x, z)") == 1
