from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir

from edgeopt.graph.computed import Computation


def test_inner_values_need_only_the_inputs_they_depend_on():
    header = '<ir_version: 10, opset_import: ["" : 24]>'
    text = header + " g (float[n] x, float[n] y) => (float[n] z) { a = Neg(x) b = Exp(a) z = Add(b, y) }"
    model = ir.from_proto(onnx.parser.parse_model(text))
    values = {value.name: value for node in model.graph for value in node.outputs}
    part = Computation(model, [values["b"], values["a"]])
    assert set(part.inputs) == {"x"}
    found = part({"x": np.array([0.0, 1.0], np.float32), "unused": np.zeros(1)})
    np.testing.assert_allclose(found[0], np.exp([0.0, -1.0]), rtol=1e-6)
    np.testing.assert_allclose(found[1], [0.0, -1.0])
    assert len(list(model.graph)) == 3, "the model itself is as it was"
