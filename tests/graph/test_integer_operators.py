"""The table of integer operators: names that onnxruntime knows, and its readers agrees."""

import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper
from onnxruntime.capi.onnxruntime_pybind11_state import get_all_operator_schema

from edgeopt.bundle.golden import arithmetic_of
from edgeopt.errors import ModelError
from edgeopt.graph.executed import Executed
from edgeopt.graph.files import as_ir
from edgeopt.graph.integer_operators import CONVERSIONS, GIVE_FLOATS, INTEGER_OPERATORS, INTEGER_PRODUCTS, PAIRS, IntegerUse
from edgeopt.graph.operator_cost import cost
from edgeopt.quantize.prepare import refuse_quantized


def test_every_operator_is_one_that_onnxruntime_knows():
    known = {schema.name for schema in get_all_operator_schema()}
    assert set(INTEGER_OPERATORS) <= known


def test_what_gives_floats_is_a_product_and_pairs_are_conversions():
    assert GIVE_FLOATS < INTEGER_PRODUCTS
    assert PAIRS < CONVERSIONS
    assert {INTEGER_OPERATORS[name] for name in PAIRS} == {IntegerUse.CONVERSION}


@pytest.mark.parametrize("operator", sorted(INTEGER_OPERATORS))
def test_a_graph_with_any_of_them_is_a_quantized_one_everywhere(operator):
    graph = helper.make_graph(
        [helper.make_node(operator, ["x"], ["y"], domain="com.microsoft")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    model = onnx.helper.make_model(graph)
    assert arithmetic_of(as_ir(model)) == "integer"
    with pytest.raises(ModelError, match="already quantized"):
        refuse_quantized(ir.from_proto(model), "model")


@pytest.mark.parametrize("operator", sorted(GIVE_FLOATS - {"DynamicQuantizeLSTM", "QAttention"}))
def test_products_that_read_floats_count_as_int8_in_a_profile(operator):
    node = Executed("n", operator, [("float", [4, 8]), ("int8", [8, 2])], [("float", [4, 2])], bytes=1)
    assert cost(node).kind == "int8"
    assert cost(node).macs == 4 * 8 * 2
