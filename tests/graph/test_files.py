"""ONNX files: what is written is what was read, in one file and in two, and damage is named."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeopt.errors import ModelError
from edgeopt.graph import files, tensors
from edgeopt.graph.signature import TensorSpec


def model_of(*arrays: np.ndarray) -> onnx.ModelProto:
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> g (float[n, 64] x) => (float[n, 64] y) { y = Relu (x) }'
    )
    for number, array in enumerate(arrays):
        model.graph.initializer.append(numpy_helper.from_array(array, f"w{number}"))
    return model


def kinds() -> onnx.ModelProto:
    model = model_of(
        np.random.default_rng(5).standard_normal((64, 64)).astype(np.float32), np.float32(3), np.zeros((0, 4), np.int64)
    )
    model.graph.initializer.append(helper.make_tensor("words", TensorProto.STRING, [2], [b"a", b"bc"]))
    model.graph.initializer.append(helper.make_tensor("four", TensorProto.INT4, [3], [1, -2, 3]))
    model.graph.initializer.append(helper.make_tensor("brain", TensorProto.BFLOAT16, [2], [1.5, -2.0]))
    model.graph.initializer.append(helper.make_tensor("floats", TensorProto.FLOAT, [2], [1.5, -2.0]))  # not as raw bytes
    model.metadata_props.add(key="who", value="test")
    return model


def constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


@pytest.mark.parametrize("external", [False, True])
def test_constants_of_every_kind_come_back(tmp_path, external):
    expected = constants(kinds())
    onnx.save(kinds(), tmp_path / "in.onnx")
    written = files.save(files.load(tmp_path / "in.onnx"), tmp_path / "out.onnx", external=external)
    assert [path.name for path in written] == ["out.onnx"] + ["out.onnx.data"] * external
    again = files.save(files.load(tmp_path / "out.onnx"), tmp_path / "again.onnx")
    for path in (written[0], again[0]):
        model = onnx.load(path)
        onnx.checker.check_model(model)
        assert {entry.key: entry.value for entry in model.metadata_props} == {"who": "test"}
        found = constants(model)
        assert found.keys() == expected.keys()
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array)
            assert found[name].dtype == array.dtype


def test_bytes_for_a_session_are_the_file(tmp_path):
    model = ir.from_proto(kinds())
    path = files.save(model, tmp_path / "model.onnx")[0]
    assert bytes(files.serialized(model)) == path.read_bytes()
    assert onnx.load_from_string(path.read_bytes()).graph.node[0].op_type == "Relu"


def test_a_data_file_is_mapped_and_starts_on_a_page(tmp_path):
    files.save(files.from_proto(kinds()), tmp_path / "model.onnx", external=True)
    raw = onnx.load(tmp_path / "model.onnx", load_external_data=False)
    outside = [tensor for tensor in raw.graph.initializer if tensor.data_location == TensorProto.EXTERNAL]
    assert [tensor.name for tensor in outside] == ["w0"]  # the others are small
    assert {entry.key: entry.value for entry in outside[0].external_data}["offset"] == "0"
    assert files.external_files(tmp_path / "model.onnx") == [tmp_path / "model.onnx.data"]
    assert files.size_bytes(tmp_path / "model.onnx") > 64 * 64 * 4
    mapped = files.load(tmp_path / "model.onnx").graph.initializers["w0"].const_value.numpy()
    assert not mapped.flags.owndata and not mapped.flags.writeable


def test_damage_to_the_data_file_is_named(tmp_path):
    path = tmp_path / "model.onnx"
    files.save(files.from_proto(kinds()), path, external=True)
    data = tmp_path / "model.onnx.data"
    data.write_bytes(data.read_bytes()[:-10])
    with pytest.raises(ModelError, match=r"model.onnx: its external data model.onnx.data ends early.*'w0' takes 16,384"):
        files.load(path)
    data.unlink()
    with pytest.raises(ModelError, match=r"its external data model.onnx.data is missing"):
        files.load(path)


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd"])
def test_data_outside_the_models_folder_is_refused(tmp_path, location):
    model = model_of(np.ones((2, 2), dtype=np.float32))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    for read in (files.load, files.external_files):
        with pytest.raises(ModelError, match="leaves the model's folder"):
            read(tmp_path / "model.onnx")


def test_what_is_no_model_is_refused(tmp_path):
    path = tmp_path / "model.onnx"
    with pytest.raises(ModelError, match="no such model file"):
        files.load(path)
    with pytest.raises(ModelError, match=r"a folder; give an \.onnx file"):
        files.load(tmp_path)
    path.write_bytes(b"not a model")
    with pytest.raises(ModelError, match=f"a folder; give the file in it: {path}"):
        files.load(tmp_path)
    with pytest.raises(ModelError, match="not an ONNX"):
        files.load(path)
    path.write_bytes(onnx.ModelProto(ir_version=8).SerializeToString())
    with pytest.raises(ModelError, match="no nodes or no operator set"):
        files.load(path)


def test_the_structure_shows_large_constants_as_inputs():
    model = files.from_proto(kinds())
    shown = files.structure(model)
    assert [value.name for value in shown.graph.input] == ["x", "w0"]
    assert "w0" not in {tensor.name for tensor in shown.graph.initializer}
    assert {"w1", "words"} <= {tensor.name for tensor in shown.graph.initializer}
    assert [value.name for value in model.graph.inputs] == ["x"]
    assert [value.name for value in files.structure(model, smallest=0, inputs=False).graph.input] == ["x"]


def test_the_signature_leaves_out_constants_that_are_listed_as_inputs():
    model = model_of(np.ones((2, 2), dtype=np.float32))
    model.graph.input.append(helper.make_tensor_value_info("w0", TensorProto.FLOAT, [2, 2]))
    found = files.signature(files.from_proto(model))
    assert found.inputs == (TensorSpec("x", "float32", ("n", 64)),)
    assert [spec.name for spec in found.outputs] == ["y"]


def test_beyond_the_limit_a_model_goes_into_two_files(tmp_path, monkeypatch):
    model = files.from_proto(kinds())
    assert files.fits_one_message(model)
    monkeypatch.setattr(files, "MOST_IN_MESSAGE", 1000)
    assert not files.fits_one_message(model)
    assert len(files.save(model, tmp_path / "model.onnx")) == 2


def test_an_input_without_a_type_is_refused_in_one_line(tmp_path):
    model = onnx.parser.parse_model('<ir_version: 10, opset_import: ["" : 21]> g (float[1] x) => (float[1] y) { y = Neg (x) }')
    model.graph.input[0].ClearField("type")
    model.graph.input[0].name = model.graph.node[0].input[0] = "x\nz"
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=r"'x\\nz' is of no known element type") as caught:
        files.load(tmp_path / "m.onnx")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("y = Add (x, gone)", "node '' (Add) reads 'gone', which is no input, no constant and no output of a node"),
        ("a = Add (x, b)  b = Neg (a)  y = Neg (b)", "its nodes read each other in a circle"),
        (
            (
                "y = If (c) <then_branch = t () => (float[1] p) { p = Neg (gone) }, "
                "else_branch = e () => (float[1] q) { q = Neg (x) }>"
            ),
            "'gone'",
        ),
    ],
)
def test_nodes_that_read_what_nothing_produces_are_refused(tmp_path, body, said):
    text = f'<ir_version: 10, opset_import: ["" : 21]> g (float[1] x, bool c) => (float[1] y) {{ {body} }}'
    onnx.save(onnx.parser.parse_model(text), tmp_path / "m.onnx")
    with pytest.raises(ModelError) as caught:
        files.load(tmp_path / "m.onnx")
    assert said in str(caught.value)


def test_nodes_are_read_in_the_order_in_which_they_run(tmp_path):
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> g (float[1] x) => (float[1] y) { y = Neg (a)  a = Abs (x) }'
    )
    onnx.save(model, tmp_path / "m.onnx")
    assert [node.op_type for node in files.load(tmp_path / "m.onnx").clone().graph] == ["Abs", "Neg"]


def test_an_output_of_maps_is_no_tensor():
    maps = helper.make_sequence_type_proto(helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(1, [])))
    model = model_of()
    model.graph.node.append(helper.make_node("ZipMap", ["y"], ["m"], domain="ai.onnx.ml", classlabels_int64s=list(range(64))))
    model.graph.output.append(helper.make_value_info("m", maps))
    assert [spec.dtype for spec in files.signature(files.from_proto(model)).outputs] == ["float32", "sequence"]


def test_a_merged_weight_is_written_in_slices_and_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(tensors, "SLICE_BYTES", 64)
    model = files.as_ir(
        onnx.parser.parse_model(
            '<ir_version: 10, opset_import: ["" : 20]> g (float[b,40] x) => (float[b,50] y) {y = MatMul(x, w)}'
        )
    )
    left, right = (np.random.default_rng(0).normal(size=(40, size)).astype(np.float32) for size in (20, 30))
    weight = next(node for node in model.graph).inputs[1]
    weight.const_value = tensors.Rows([ir.tensor(left), tensors.derived(ir.tensor(right.T.copy()), np.transpose)], name="w")
    weight.type, weight.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape([40, 50])
    model.graph.register_initializer(weight)
    path, data = files.write_temporary(model, tmp_path / "model.onnx")
    places = {entry.key: entry.value for entry in onnx.load(path, load_external_data=False).graph.initializer[0].external_data}
    assert places["location"] == data.name == "model.onnx.data" and int(places["offset"]) % 4096 == 0
    x = np.ones((2, 40), np.float32)
    expected = x @ np.concatenate([left, right], axis=1)
    np.testing.assert_allclose(ort.InferenceSession(path).run(None, {"x": x})[0], expected, rtol=1e-5, atol=1e-5)


def test_a_sparse_constant_that_fills_the_memory_is_refused(tmp_path):
    values, places = numpy_helper.from_array(np.ones(1, np.float32), "c"), numpy_helper.from_array(np.zeros(1, np.int64))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Add", ["x", "c"], ["y"])], "g", ends[:1], ends[1:])
    graph.sparse_initializer.append(onnx.SparseTensorProto(values=values, indices=places, dims=[10**9]))
    (tmp_path / "m.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    with pytest.raises(ModelError, match="the sparse constant 'c' would be 4,000,000,000 bytes"):
        files.load(tmp_path / "m.onnx")


def test_a_model_with_a_data_file_makes_its_folder(tmp_path):
    written = files.save(files.from_proto(model_of(np.ones(4, np.float32))), tmp_path / "new" / "m.onnx", external=True)
    assert [path.name for path in written] == ["m.onnx", "m.onnx.data"] and all(path.is_file() for path in written)
