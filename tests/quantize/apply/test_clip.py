import numpy as np
import onnx
from onnx import numpy_helper

from edgeopt.graph.files import as_ir
from edgeopt.graph.matching import array
from edgeopt.quantize import QuantizeConfig, quantize
from edgeopt.quantize.affine import Grid
from edgeopt.quantize.apply.clip import clip_weights
from edgeopt.quantize.calibrate.weights import weight_limits
from edgeopt.quantize.plan.cause import Cause
from edgeopt.quantize.plan.plan import NodePlan, Plan, Scheme


def test_scales_are_those_of_the_least_error(conv_model, images, saved, tmp_path, vnni):
    config = QuantizeConfig(weight_ranges="mse")
    quantize(saved(conv_model), images, target=vnni, output=tmp_path / "mse.onnx", config=config)
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(tmp_path / "mse.onnx").graph.initializer}
    weight = next(numpy_helper.to_array(tensor) for tensor in conv_model.graph.initializer if tensor.name == "w2")
    np.testing.assert_allclose(found["w2_scale"], weight_limits(weight, 0, Grid(8, symmetric=True)) / 127, rtol=1e-5)
    assert (found["w2_scale"] <= np.abs(weight).max(axis=(1, 2, 3)) / 127 * (1 + 1e-5)).all()


def test_a_weight_with_one_scale_is_clipped_as_one():
    """Its channels clipped each for itself would lose their largest values, and gain no finer steps."""
    proto = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> g (float[n, 512] x) => (float[n, 4] y) { [m] y = MatMul (x, w) }'
    )
    weight = (np.random.default_rng(0).standard_t(3, (512, 4)) * [1, 2, 4, 8]).astype(np.float32)
    proto.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    model, node = as_ir(proto), NodePlan("m", "MatMul", "int8", "int8", Cause.WEIGHTS)
    for ops, axis in ((("Conv",), None), (("Conv", "MatMul"), 1)):
        scheme = Scheme("uint8", "int8", True, False, True, per_channel_ops=ops)
        clipped = clip_weights(model, Plan("t", scheme, (node,), (), ()))
        limits = weight_limits(weight, axis, Grid(8, symmetric=True))
        assert (limits < np.abs(weight).max(axis=0)).any()
        np.testing.assert_allclose(array(clipped.graph.initializers["w"]), np.clip(weight, -limits, limits), rtol=1e-6)
