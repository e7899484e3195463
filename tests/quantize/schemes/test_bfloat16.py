"""bfloat16: a constant whose numbers would become infinite is stored as it is."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort

from edgeopt.quantize import QuantizeConfig, quantize
from edgeopt.quantize.plan.cause import Cause
from edgeopt.quantize.plan.plan import load_plan

MASKED = """
<ir_version: 10, opset_import: ["" : 21]>
masked (float[n, 40] x) => (float[n, 40] y) {
    m = MatMul (x, w)
    a = Where (seen, m, lowest)
    y = Softmax (a)
}
"""


def test_the_lowest_number_of_a_mask_stays_finite(saved, tmp_path, vnni):
    model = onnx.parser.parse_model(MASKED)
    seen = np.tri(40, dtype=bool)
    seen[0] = False
    constants = {
        "w": np.eye(40, dtype=np.float32),
        "seen": seen,
        "lowest": np.full((40, 40), np.finfo(np.float32).min),
    }
    for name, values in constants.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    batch = {"x": np.random.default_rng(0).normal(size=(40, 40)).astype(np.float32)}
    path = saved(model)
    result = quantize(path, [batch], target=vnni, output=tmp_path / "b.onnx", config=QuantizeConfig(scheme="bfloat16"))
    causes = {node.op: node.cause for node in load_plan(result.plan_path).nodes}
    assert causes == {"MatMul": Cause.STORED, "Where": Cause.ROUNDED_UP}
    (expected,), (got,) = (ort.InferenceSession(file).run(None, batch) for file in (path, result.path))
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got, expected, atol=1e-2)
