from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgeopt.errors import InternalError
from edgeopt.quantize import QuantizeConfig, quantize
from edgeopt.quantize.apply.qdq import insert_qdq
from edgeopt.quantize.plan.draft import draft_plan
from edgeopt.quantize.prepare import prepare

CHAIN = """
<ir_version: 10, opset_import: ["" : 21]>
chain (float[n, 3, 8, 8] x) => (float[n, 4, 8, 8] y) {
    a = Conv <kernel_shape = [1, 1]> (x, w1)
    b = Conv <kernel_shape = [1, 1]> (a, w2)
    y = Conv <kernel_shape = [1, 1]> (b, w3)
}
"""


@pytest.fixture
def chain() -> onnx.ModelProto:
    model = onnx.parser.parse_model(CHAIN)
    generator = np.random.default_rng(3)
    for name, shape in {"w1": (4, 3, 1, 1), "w2": (4, 4, 1, 1), "w3": (4, 4, 1, 1)}.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(generator.standard_normal(shape).astype(np.float32), name))
    for number, node in enumerate(model.graph.node):
        node.name = f"conv{number}"
    return model


def test_a_float_node_between_integer_nodes_really_runs_in_floating_point(chain, saved, tmp_path, vnni):
    batch = {"x": np.random.default_rng(4).standard_normal((2, 3, 8, 8), dtype=np.float32)}
    config = QuantizeConfig(exclude=["conv1"])
    result = quantize(saved(chain), [batch], target=vnni, output=tmp_path / "out.onnx", config=config)
    assert [island.node for island in result.facts.coverage.islands] == ["conv1"]
    assert result.facts.coverage.int8_macs_share == pytest.approx(28 / 44)


def test_a_tensor_without_a_range_is_an_internal_error_that_names_it(chain, vnni):
    batch = {"x": np.random.default_rng(4).standard_normal((2, 3, 8, 8), dtype=np.float32)}
    prepared = prepare(ir.from_proto(chain), "chain")
    plan = draft_plan(prepared, [batch], vnni, QuantizeConfig()).plan
    less = replace(plan, tensors=tuple(tensor for tensor in plan.tensors if tensor.name != "b"))
    with pytest.raises(InternalError, match="the tensor 'b' and has no range"):
        insert_qdq(prepared.model, less)
