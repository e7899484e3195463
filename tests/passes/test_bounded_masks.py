from __future__ import annotations

import numpy as np
import onnx
import pytest

from edgeopt.passes.bounded_masks import BoundedMasks

LOWEST = float(np.finfo(np.float32).min)
TEXT = """g (float[2,3] scores, bool[2,3] mask) => (float[2,3] y) <float none = {0}> {
    m = Where(mask, none, deep)
    s = Add(m, scores)
    y = Softmax(s)
}"""


def masked(parse_graph, value: float, text: str = TEXT) -> onnx.ModelProto:
    model = parse_graph(text)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(value), "deep"))
    return onnx.shape_inference.infer_shapes(model)


@pytest.mark.parametrize("value", [LOWEST, -float("inf"), -1e9])
def test_what_stands_for_minus_infinity_becomes_100(rewrite, parse_graph, value):
    batch = {"scores": np.array([[1, 2, 3], [0, 5, -3]], np.float32), "mask": np.array([[True, False, True]] * 2)}
    graph_pass = BoundedMasks()
    model = masked(parse_graph, value)
    rewrite(graph_pass, model, batch)
    assert graph_pass.count == 1


def test_golden(golden):
    def text(depth: str) -> str:
        return TEXT.replace("<float none = {0}>", f"<float none = {{0}}, float deep = {{{depth}}}>")

    batch = {"scores": np.ones((2, 3), np.float32), "mask": np.array([[True, False, True]] * 2)}
    golden(BoundedMasks(), text("-1e30"), text("-100"), batch)


@pytest.mark.parametrize("change", [("deep)", "none)"), ("Softmax(s)", "Relu(s)"), ("Add(m", "Pow(m")])
def test_other_constants_stay(parse_graph, rewrite, change):
    graph_pass = BoundedMasks()
    text = TEXT.replace(*change)
    if "Pow" in text:
        text = text.replace("m = Where(mask, none, deep)", "m = Abs(deep)")
    rewrite(graph_pass, masked(parse_graph, -1e9 if "deep)" in text else -10, text))
    assert graph_pass.count == 0


def test_a_mask_that_a_subgraph_reads_stays(parse_graph, rewrite):
    text = """g (float[2,3] scores, bool c) => (float[2,3] y) {
        s = If(c) <
            then_branch = one () => (float[2,3] a) { a = Add(scores, deep) },
            else_branch = two () => (float[2,3] b) { b = Neg(scores) }
        >
        y = Softmax(s)
    }"""
    graph_pass = BoundedMasks()
    rewrite(graph_pass, masked(parse_graph, -1e9, text))
    assert graph_pass.count == 0
