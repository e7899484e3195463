"""Blocks of integers as the operands of MatMulNBits."""

import numpy as np
import onnx_ir as ir
import pytest

from edgeopt.quantize.algorithms.gptq import quantize_blocks
from edgeopt.quantize.schemes.pack import pack_product, packed


@pytest.mark.parametrize(
    ("numbers", "bits", "expected"),
    [([[1, 2, 15, 0]], 4, [[0x21, 0x0F]]), ([[1, 2, 15]], 4, [[0x21, 0x0F]]), ([[1, 200]], 8, [[1, 200]])],
)
def test_the_first_of_two_numbers_is_the_lower_half_of_a_byte(numbers, bits, expected):
    assert packed(np.array(numbers, np.uint8), bits).tolist() == expected


@pytest.mark.parametrize(("symmetric", "operands"), [(True, 3), (False, 4)])
def test_a_product_gets_blocks_scales_and_perhaps_zero_points(symmetric, operands):
    model = ir.from_onnx_text(
        """<ir_version: 10, opset_import: ["" : 21, "com.microsoft" : 1]>
        g (float[n, 40] x, float[40, 6] w) => (float[n, 6] y) { y = MatMul (x, w) }"""
    )
    kind = {"bits": 4, "block": 32, "symmetric": symmetric}
    weight = np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32)
    node = model.graph[0]
    pack_product(model.graph, node, quantize_blocks(weight, np.eye(40), **kind), **kind)
    assert (node.domain, node.op_type, len(node.inputs)) == ("com.microsoft", "MatMulNBits", operands)
    attributes = {name: attribute.value for name, attribute in node.attributes.items()}
    assert attributes == {"K": 40, "N": 6, "bits": 4, "block_size": 32}
    assert [value.const_value.shape.numpy() for value in node.inputs[1:3]] == [(6, 2, 16), (6, 2)]
