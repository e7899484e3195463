import numpy as np
import onnx
import pytest

from edgeopt.graph.files import as_ir
from edgeopt.graph.macs import count_macs


def model(body: str, inputs: str, opset: int = 24, **weights: tuple[int, ...]) -> onnx.ModelProto:
    parsed = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : {opset}]> g ({inputs}) => (y) {{ {body} }}')
    for name, shape in weights.items():
        parsed.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(shape, dtype=np.float32), name))
    return parsed


def zeros(**shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    return {name: np.zeros(shape, dtype=np.float32) for name, shape in shapes.items()}


CASES = {
    "MatMul": ("y = MatMul (x, w)", {"w": (5, 7)}, (2, 3, 5), 2 * 3 * 5 * 7),
    "Gemm": ("y = Gemm <transB = 1> (x, w)", {"w": (7, 5)}, (4, 5), 4 * 5 * 7),
    "Gemm, A transposed": ("y = Gemm <transA = 1> (x, w)", {"w": (4, 7)}, (4, 5), 4 * 5 * 7),
    "Conv": ("y = Conv (x, w)", {"w": (8, 3, 3, 3)}, (2, 3, 10, 12), 2 * 8 * 8 * 10 * 27),
    "depthwise Conv": ("y = Conv <group = 4> (x, w)", {"w": (4, 1, 3, 3)}, (1, 4, 6, 6), 4 * 4 * 4 * 9),
    "ConvTranspose": ("y = ConvTranspose (x, w)", {"w": (3, 8, 2, 2)}, (1, 3, 5, 5), 75 * 8 * 4),
    "Attention": ("y = Attention (x, x, x)", {}, (2, 4, 6, 8), 2 * 4 * 6 * 6 * 16),
    "Attention, flat": ("y = Attention <q_num_heads = 4, kv_num_heads = 4> (x, x, x)", {}, (2, 6, 32), 2 * 6 * 6 * 64),
    "Einsum": ('y = Einsum <equation = "bij,jk->bik"> (x, w)', {"w": (4, 5)}, (2, 3, 4), 2 * 3 * 4 * 5),
    "Einsum, ellipsis": ('y = Einsum <equation = "...j,jk->...k"> (x, w)', {"w": (4, 5)}, (2, 3, 4), 2 * 3 * 4 * 5),
    "LSTM": ("_, y = LSTM <hidden_size = 6> (x, w, r)", {"w": (1, 24, 5), "r": (1, 24, 6)}, (3, 2, 5), 3 * 2 * 24 * 11),
    "GRU": ("_, y = GRU <hidden_size = 6> (x, w, r)", {"w": (1, 18, 5), "r": (1, 18, 6)}, (3, 2, 5), 3 * 2 * 18 * 11),
    "none": ("y = Relu (x)", {}, (3, 2), 0),
}


@pytest.mark.parametrize("case", CASES)
def test_macs_by_hand(case):
    body, weights, shape, macs = CASES[case]
    axes = ", ".join(f"d{axis}" for axis in range(len(shape)))
    counted = count_macs(as_ir(model(body, f"float[{axes}] x", **weights)), zeros(x=shape))
    assert sum(counted.values()) == macs


def test_grouped_queries_share_keys():
    body = "y = Attention <q_num_heads = 4, kv_num_heads = 2> (q, k, v)"
    inputs = "float[b, s, h] q, float[b, t, i] k, float[b, t, i] v"
    counted = count_macs(as_ir(model(body, inputs)), zeros(q=(2, 3, 32), k=(2, 5, 16), v=(2, 5, 16)))
    assert sum(counted.values()) == 2 * 4 * 3 * 5 * (8 + 8)


def test_shapes_that_depend_on_values_are_measured():
    parsed = model("t = NonZero (x) f = Cast <to = 1> (t) y = MatMul (w, f)", "float[a, b] x", w=(7, 2))
    batch = {"x": np.eye(5, dtype=np.float32)}
    assert sum(count_macs(as_ir(parsed), batch).values()) == 7 * 2 * 5


def test_nodes_out_of_order_are_counted():
    parsed = model("y = Gemm (x, m, a)", "float[2, 2] x")
    for name in ("m", "a"):
        constant = onnx.helper.make_node(
            "Constant", [], [name], value=onnx.numpy_helper.from_array(np.ones((2, 2), np.float32))
        )
        parsed.graph.node.append(constant)
    assert sum(count_macs(as_ir(parsed), zeros(x=(2, 2))).values()) == 8


def test_nodes_are_called_by_name_or_first_output():
    parsed = model("h = MatMul (x, w) y = MatMul (h, w)", "float[n, 4] x", w=(4, 4))
    parsed.graph.node[0].name = "first"
    assert count_macs(as_ir(parsed), zeros(x=(2, 4))) == {"first": 32, "y": 32}


def test_packed_attention_counts_its_projections_and_its_past():
    nodes = "y = com.microsoft.Attention <num_heads = 2> (x, w, b)"
    found = count_macs(as_ir(contrib(model(nodes, "float[1, 4, 8] x", w=(8, 24), b=(24,)))), zeros(x=(1, 4, 8)))
    assert found == {"y": 4 * 8 * 24 + 4 * 4 * (8 + 8)}
    nodes = "y, z = com.microsoft.Attention <num_heads = 2> (x, w, b, , past)"
    inputs = "float[1, 4, 8] x, float[2, 1, 2, 5, 4] past"
    found = count_macs(as_ir(contrib(model(nodes, inputs, w=(8, 24), b=(24,)))), zeros(x=(1, 4, 8), past=(2, 1, 2, 5, 4)))
    assert found == {"y": 4 * 8 * 24 + 4 * 9 * (8 + 8)}


def contrib(made: onnx.ModelProto) -> onnx.ModelProto:
    made.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    return made
