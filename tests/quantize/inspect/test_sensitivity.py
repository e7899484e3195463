"""Sensitivity of single layers: the noisier layer comes first."""

import numpy as np
import onnx
import onnx_ir as ir

from edgeopt.quantize import QuantizeConfig
from edgeopt.quantize.apply.qdq import insert_qdq
from edgeopt.quantize.inspect.sensitivity import sensitivity
from edgeopt.quantize.planner import draft_plan
from edgeopt.quantize.prepare import prepare
from tests.quantize.conftest import fill, named

NET = """
<ir_version: 10, opset_import: ["" : 21]>
net (float[n, 8] x) => (float[n, 4] y) {
    a = Gemm <transB = 1> (x, w1)
    r = Relu (a)
    y = Gemm <transB = 1> (r, w2)
}
"""


def test_a_layer_whose_input_has_a_loud_channel_is_the_worst(vnni):
    model = named(fill(onnx.parser.parse_model(NET), w1=(16, 8), w2=(4, 16)))
    first = model.graph.initializer[0]
    weight = onnx.numpy_helper.to_array(first).copy()
    weight[:, 0] = 0  # the loud channel does not matter, but takes the range
    first.CopyFrom(onnx.numpy_helper.from_array(weight, "w1"))
    generator = np.random.default_rng(0)
    loud = np.array([500] + [1] * 7, np.float32)
    batches = [{"x": generator.standard_normal((8, 8), dtype=np.float32) * loud} for _ in range(4)]
    prepared = prepare(ir.from_proto(model), "net", rewrite=False)
    plan = draft_plan(prepared, batches, vnni, QuantizeConfig(ranges="min-max", smooth=False)).plan
    found = sensitivity(prepared.model, insert_qdq(prepared.model, plan), plan, batches, threads=1)
    assert [(layer.name, layer.op) for layer in found] == [("a", "Gemm"), ("y", "Gemm")]
    assert found[0].sqnr_db < 10 and found[1].sqnr_db > 30
