import numpy as np
import onnx
from onnx import numpy_helper

from edgeopt.quantize import QuantizeConfig, quantize
from edgeopt.quantize.affine import Grid
from edgeopt.quantize.calibrate.weights import weight_limits


def test_scales_are_those_of_the_least_error(conv_model, images, saved, tmp_path, vnni):
    config = QuantizeConfig(weight_ranges="mse")
    quantize(saved(conv_model), images, target=vnni, output=tmp_path / "mse.onnx", config=config)
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(tmp_path / "mse.onnx").graph.initializer}
    weight = next(numpy_helper.to_array(tensor) for tensor in conv_model.graph.initializer if tensor.name == "w2")
    np.testing.assert_allclose(found["w2_scale"], weight_limits(weight, 0, Grid(8, symmetric=True)) / 127, rtol=1e-5)
    assert (found["w2_scale"] <= np.abs(weight).max(axis=(1, 2, 3)) / 127 * (1 + 1e-5)).all()
