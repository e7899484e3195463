"""LSTMs with dynamically quantized weights."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from edgeopt.graph import files
from edgeopt.quantize import QuantizeConfig, quantize
from edgeopt.quantize.inspect.exact import ExactOutputs

HIDDEN, WIDTH = 24, 10
FORMS = {
    "one direction": ("forward", 1, "(x, w, r)", "y, h, c"),
    "both directions, biases, states": ("bidirectional", 2, "(x, w, r, b, , h0, c0)", "y, h, c"),
}


def recurrent(form: str) -> onnx.ModelProto:
    direction, count, inputs, outputs = FORMS[form]
    model = onnx.parser.parse_model(f"""
        <ir_version: 10, opset_import: ["" : 21]>
        g (float[time, n, {WIDTH}] x) => (float[time, {count}, n, {HIDDEN}] y, float[{count}, n, {HIDDEN}] h) {{
            {outputs} = LSTM <hidden_size = {HIDDEN}, direction = "{direction}"> {inputs}
        }}
    """)
    generator = np.random.default_rng(0)
    shapes = {"w": (count, 4 * HIDDEN, WIDTH), "r": (count, 4 * HIDDEN, HIDDEN), "b": (count, 8 * HIDDEN)}
    shapes |= dict.fromkeys(("h0", "c0"), (count, 1, HIDDEN)) if "h0" in inputs else {}
    for name, shape in shapes.items():
        if name in inputs:
            values = (0.3 * generator.standard_normal(shape)).astype(np.float32)
            model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    model.graph.node[0].name = "memory"
    return model


def steps() -> list[dict[str, np.ndarray]]:
    generator = np.random.default_rng(1)
    return [{"x": generator.standard_normal((length, 1, WIDTH)).astype(np.float32)} for length in (5, 12, 30)]


@pytest.mark.parametrize("form", FORMS)
def test_weights_become_integers_and_the_outputs_stay(form, saved, tmp_path, vnni) -> None:
    path, output = saved(recurrent(form)), tmp_path / "q.onnx"
    facts = quantize(path, steps(), target=vnni, output=output, config=QuantizeConfig(scheme="dynamic")).facts
    made = onnx.load(output)
    assert [node.op_type for node in made.graph.node] == ["DynamicQuantizeLSTM"]
    integers = [
        tensor for tensor in made.graph.initializer if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 3
    ]
    assert [list(tensor.dims) for tensor in integers] == [[FORMS[form][1], size, 4 * HIDDEN] for size in (WIDTH, HIDDEN)]
    assert facts.coverage.int8_macs_share == 1.0
    assert ExactOutputs(files.load(path), steps()).db(files.load(output)) > 30
    assert facts.size_bytes_after < 0.5 * facts.size_bytes_before


def test_an_excluded_one_and_one_with_computed_weights_stay(saved, tmp_path, vnni) -> None:
    config = QuantizeConfig(scheme="dynamic", exclude=["memory"])
    made = quantize(saved(recurrent("one direction")), steps(), target=vnni, output=tmp_path / "q.onnx", config=config)
    assert [node.op_type for node in onnx.load(made.path).graph.node] == ["LSTM"]
    model = recurrent("one direction")
    model.graph.node.insert(0, onnx.helper.make_node("Mul", ["w0", "factor"], ["w"], name="scaled"))
    model.graph.initializer[0].name = "w0"
    model.graph.input.append(onnx.helper.make_tensor_value_info("factor", onnx.TensorProto.FLOAT, [1]))
    batches = [{**batch, "factor": np.ones(1, np.float32)} for batch in steps()]
    made = quantize(saved(model), batches, target=vnni, output=tmp_path / "c.onnx", config=QuantizeConfig(scheme="dynamic"))
    assert "LSTM" in {node.op_type for node in onnx.load(made.path).graph.node}
    ort.InferenceSession(made.path, providers=["CPUExecutionProvider"])
