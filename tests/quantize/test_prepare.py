"""Files as strangers write them, through the stage: quantized to what they were, or refused in one line."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest

from edgeopt.errors import ModelError
from edgeopt.quantize import QuantizeConfig, prepare, quantize

HEAD = '<ir_version: {ir}, opset_import: ["" : {opset}{domains}]>\n'
PLAIN = "g (float[n,16] x) => (float[n,4] y{more}) {{ a = Gemm(x, w, b)  r = {act}(a)  y = Gemm(r, v, c) {tail} }}"
IMAGE = "g (float[n,3,8,8] x) => (float[n,6,h,k] y) {{ a = Conv(x, w)  r = Relu(a)  {body} }}"
FUNCTION = '<domain: "my", opset_import: ["" : {opset}]> Act (a) => (b) {{ b = Relu(a) }}'
PLAIN_WEIGHTS = {"w": (16, 8), "b": (8,), "v": (8, 4), "c": (4,)}


def parsed(text, weights, *, opset=17, version=8, domains=""):
    rng = np.random.default_rng(0)
    model = onnx.parser.parse_model(HEAD.format(ir=version, opset=opset, domains=domains) + text)
    for name, shape in weights.items():
        values = rng.normal(size=shape).astype(np.float32) / np.sqrt(np.prod(shape[1:]) or 1)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values.astype(np.float32), name))
    return model


def plain(*, act="Relu", more="", tail="", **options):
    return parsed(PLAIN.format(act=act, more=more, tail=tail) + options.pop("functions", ""), PLAIN_WEIGHTS, **options)


def with_initializers_as_inputs():
    model = plain(opset=9, version=3)
    for tensor in model.graph.initializer:
        model.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    return model


def with_a_sparse_weight(*, coordinates):
    model = plain()
    tensor = model.graph.initializer[0]
    dense = onnx.numpy_helper.to_array(tensor).copy()
    dense[np.abs(dense) < 0.2] = 0
    places = np.argwhere(dense) if coordinates else np.flatnonzero(dense)
    values = onnx.numpy_helper.from_array(dense[np.nonzero(dense)], tensor.name)
    sparse = onnx.SparseTensorProto(values=values, dims=list(dense.shape))
    sparse.indices.CopyFrom(onnx.numpy_helper.from_array(places.astype(np.int64), "places"))
    del model.graph.initializer[0]
    model.graph.sparse_initializer.append(sparse)
    return model


def with_a_sequence():
    model = plain(tail="z = SplitToSequence <axis = 1> (r, two)", more=", float[n] z")
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(4, np.int64), "two"))
    kind = onnx.helper.make_sequence_type_proto(onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, None))
    model.graph.output[1].type.CopyFrom(kind)
    return model


def transposed(group):
    body = f"y = ConvTranspose <group = {group}, strides = [2, 2]> (r, v, c)"
    return parsed(IMAGE.format(body=body), {"w": (8, 3, 3, 3), "v": (8, 6 // group, 3, 3), "c": (6,)})


def resized(opset):
    node = "s = Resize" if opset == 10 else "s = Upsample"
    body = f'{node} <mode = "linear"> (r, scales)  y = Conv(s, v)'
    model = parsed(IMAGE.format(body=body), {"w": (8, 3, 3, 3), "v": (6, 8, 3, 3)}, opset=opset, version=4)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales"))
    return model


def with_minus_one():
    model = transposed(1)
    for value in (*model.graph.input, *model.graph.output):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param:
                dimension.dim_value = -1
    return model


FUNCTIONS = {"domains": ', "my" : 1', "act": "my.Act"}
FILES = {
    "initializers as inputs": with_initializers_as_inputs,
    "IR version 3": lambda: plain(opset=8, version=3),
    "local functions, opset 12": lambda: plain(functions=FUNCTION.format(opset=12), opset=12, **FUNCTIONS),
    "local functions, opset 17": lambda: plain(functions=FUNCTION.format(opset=17), **FUNCTIONS),
    "Resize 10": lambda: resized(10),
    "Upsample 9": lambda: resized(9),
    "sparse by place": lambda: with_a_sparse_weight(coordinates=False),
    "sparse by coordinates": lambda: with_a_sparse_weight(coordinates=True),
    "an input among the outputs": lambda: plain(more=", float[n,16] x"),
    "a constant among the outputs": lambda: plain(more=", float[16,8] w"),
    "a sequence among the outputs": with_a_sequence,
    "ConvTranspose": lambda: transposed(1),
    "ConvTranspose of two groups": lambda: transposed(2),
    "axes of -1": with_minus_one,
}


def samples(model):
    rng = np.random.default_rng(1)
    shape = (3, 8, 8) if len(model.graph.input[0].type.tensor_type.shape.dim) == 4 else (16,)
    return [{"x": rng.normal(size=(2, *shape)).astype(np.float32)} for _ in range(8)]


@pytest.mark.parametrize("scheme", ["static", "dynamic", "float16"])
@pytest.mark.parametrize("name", FILES)
def test_a_strangers_file_is_quantized_to_what_it_was(saved, tmp_path, vnni, name, scheme):
    model = FILES[name]()
    path, batches = saved(model), samples(model)
    result = quantize(path, batches, target=vnni, output=tmp_path / "made.onnx", config=QuantizeConfig(scheme=scheme))
    before, after = ort.InferenceSession(path), ort.InferenceSession(result.path)
    names = [value.name for value in before.get_outputs()]
    assert [value.name for value in after.get_outputs()] == names
    for expected, got in zip(before.run(None, batches[0]), after.run(None, batches[0]), strict=True):
        for left, right in zip(*((each if isinstance(each, list) else [each]) for each in (expected, got)), strict=True):
            assert left.dtype == right.dtype
            np.testing.assert_allclose(right, left, atol=0.06 * np.abs(left).max())


def test_a_map_is_refused_with_the_way_out(saved, tmp_path, vnni):
    text = "g (float[n,16] x) => (float[n,4] z) { a = MatMul(x, w)  p = Softmax(a) }"
    model = parsed(text, {"w": (16, 4)}, domains=', "ai.onnx.ml" : 1')
    model.graph.node.append(onnx.helper.make_node("ZipMap", ["p"], ["z"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2, 3]))
    numbers = onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, [])
    kind = onnx.helper.make_sequence_type_proto(onnx.helper.make_map_type_proto(onnx.TensorProto.INT64, numbers))
    model.graph.output[0].type.CopyFrom(kind)
    with pytest.raises(ModelError, match=r"'z' is a map \(ZipMap\), .* so that its input 'p' is the output"):
        quantize(saved(model), samples(model), target=vnni, output=tmp_path / "made.onnx")


@pytest.mark.parametrize("scheme", ["static", "float16", "weights-int8"])
def test_a_weight_that_holds_nan_is_named(saved, tmp_path, vnni, scheme):
    model = plain()
    weight = onnx.numpy_helper.to_array(model.graph.initializer[2]).copy()
    weight[1, 2] = np.nan
    model.graph.initializer[2].CopyFrom(onnx.numpy_helper.from_array(weight, "v"))
    with pytest.raises(ModelError, match=r"weight 'v' holds NaN \(1 of 32 numbers\)"):
        quantize(saved(model), samples(model), target=vnni, output=tmp_path / "q.onnx", config=QuantizeConfig(scheme=scheme))


@pytest.mark.parametrize(("worth", "collected"), [(1 << 20, 0), (1, 2)])
def test_memory_is_collected_where_weights_are_large(tmp_path, monkeypatch, vnni, worth, collected):
    onnx.save(plain(), tmp_path / "model.onnx")
    calls = []
    monkeypatch.setattr(prepare, "_WORTH_FREEING", worth)
    monkeypatch.setattr(prepare.gc, "collect", lambda: calls.append(1))
    prepared = prepare.prepare_for(tmp_path / "model.onnx", vnni, rewrite=True)
    prepare.checked_on(prepared, tmp_path / "model.onnx", {"x": np.ones((2, 16), np.float32)})
    assert len(calls) == collected


def test_nodes_whose_first_output_is_left_out_have_names_of_their_own():
    lstm = "= LSTM <hidden_size = 4> (x, {0}, r)"
    text = f"g (float[t,n,6] x) => (float[1,n,4] y) {{ , h {lstm.format('v')}  , k {lstm.format('w')}  y = Add(h, k) }}"
    model = parsed(text, {"v": (1, 16, 6), "w": (1, 16, 6), "r": (1, 16, 4)})
    for node in model.graph.node:
        node.name = "" if node.op_type == "LSTM" else "LSTM:h"
    names = [node.name for node in prepare.prepare(ir.from_proto(model), "net").model.graph]
    assert len(set(names)) == len(names) and all(names)
