from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnxruntime as ort

from edgeopt.graph.generation import ASKED
from edgeopt.passes.asked_rows import AskedRows

GRAPH = """g (float[b,s,8] x) => (float[b,s,5] logits) {
    mean = ReduceMean<keepdims = 1>(x, axes)
    h = Add(x, mean)
    up = MatMul(h, w1)
    act = Relu(up)
    down = MatMul(act, w2)
    total = Add(h, down)
    logits = MatMul(total, head)
}"""


def parsed(parse_graph):
    text = GRAPH.replace("{\n", "<int64[1] axes = {1}>\n{\n", 1)
    return parse_graph(text, w1=(8, 16), w2=(16, 8), head=(8, 5))


def session(model):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(model.SerializeToString(), options)


def test_logits_of_the_asked_positions_alone_and_of_the_last_by_default(parse_graph):
    model = parsed(parse_graph)
    x = np.random.default_rng(0).normal(size=(2, 6, 8)).astype(np.float32)
    exact = session(model).run(None, {"x": x})[0]
    loaded = ir.from_proto(model)
    rewrite = AskedRows()
    rewrite(loaded)
    assert rewrite.count == 5, "all but what looks at other positions: the mean, and the sum it is part of is read whole"
    changed = session(ir.to_proto(loaded))
    assert [value.name for value in changed.get_overridable_initializers()] == [ASKED]
    np.testing.assert_allclose(changed.run(None, {"x": x})[0], exact[:, -1:], rtol=1e-5)
    np.testing.assert_allclose(changed.run(None, {"x": x, ASKED: np.array([1, -2, 0])})[0], exact[:, [1, -2, 0]], rtol=1e-5)


def test_a_graph_that_has_the_input_stays(parse_graph):
    loaded = ir.from_proto(parsed(parse_graph))
    AskedRows()(loaded)
    again = AskedRows()
    again(loaded)
    assert again.count == 0


def test_another_output_and_one_without_a_product_stay(parse_graph):
    loaded = ir.from_proto(parsed(parse_graph))
    assert not AskedRows("scores")(loaded).modified
    plain = ir.from_proto(parse_graph("g (float[b,s,8] x) => (float[b,s,8] logits) { logits = Relu(x) }"))
    assert not AskedRows()(plain).modified


def test_a_head_that_is_a_large_table_turned_over_is_a_product_too(parse_graph):
    text = "g (float[b,s,8] x) => (float[b,s,5] logits) { turned = Transpose<perm = [1, 0]>(table) logits = MatMul(x, turned) }"
    loaded = ir.from_proto(parse_graph(text, table=(5, 8)))
    x = np.random.default_rng(0).normal(size=(1, 6, 8)).astype(np.float32)
    exact = session(ir.to_proto(loaded)).run(None, {"x": x})[0]
    rewrite = AskedRows()
    rewrite(loaded)
    assert rewrite.count == 1
    np.testing.assert_allclose(session(ir.to_proto(loaded)).run(None, {"x": x})[0], exact[:, -1:], rtol=1e-5)


def test_the_output_is_declared_with_the_one_position_that_it_has_by_default(parse_graph):
    loaded = ir.from_proto(parsed(parse_graph))
    AskedRows()(loaded)
    assert [str(size) for size in loaded.graph.outputs[0].shape] == ["b", "1", "5"], "genai reserves as many as the file says"
