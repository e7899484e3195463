import onnx
import onnx_ir as ir
from onnxruntime.quantization import CalibrationMethod, QuantType, quantize_static

from edgeopt.graph.files import save
from edgeopt.quantize import QuantizeConfig, quantize
from edgeopt.quantize.plan.ort_cache import write_ort_cache
from edgeopt.quantize.plan.plan import load_plan
from edgeopt.quantize.prepare import prepare


def test_quantize_static_takes_the_ranges(conv_model, images, saved, tmp_path, vnni):
    config = QuantizeConfig(ranges="percentile", percentile=99, correct_bias=False)
    result = quantize(saved(conv_model), images, target=vnni, output=tmp_path / "ours.onnx", config=config)
    cache = tmp_path / "cache.json"
    write_ort_cache(load_plan(result.plan_path), cache)
    save(prepare(ir.from_proto(conv_model), "model").model, tmp_path / "prepared.onnx")
    quantize_static(
        tmp_path / "prepared.onnx",
        tmp_path / "theirs.onnx",
        None,
        op_types_to_quantize=["Conv", "Relu", "Add"],
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
        calibration_cache_path=cache,
    )
    scales = [
        {
            tensor.name: onnx.numpy_helper.to_array(tensor)
            for tensor in onnx.load(path).graph.initializer
            if tensor.name in {"x_scale", "r_scale", "s_scale"}
        }
        for path in (tmp_path / "ours.onnx", tmp_path / "theirs.onnx")
    ]
    assert len(scales[0]) == 3
    assert scales[0] == scales[1]
