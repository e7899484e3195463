"""Data files of untrusted models: their names stay in the folder, their places are numbers."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from edgeopt.errors import ModelError
from edgeopt.graph import files

TEXT = '<ir_version: 8, opset_import: ["" : 17]> g (float[n, 4] x) => (float[n, 4] y) <float[4] w> { y = Add (x, w) }'


def model(folder, **external):
    """Write a model whose constant has these entries of external data, and its data file of six values."""
    made = onnx.parser.parse_model(TEXT.replace("<float[4] w>", "<float[4] w = {0, 0, 0, 0}>"))
    tensor = made.graph.initializer[0]
    tensor.ClearField("float_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in external.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    (folder / "model.onnx").write_bytes(made.SerializeToString())
    (folder / "w.bin").write_bytes(np.arange(6, dtype=np.float32).tobytes())
    return folder / "model.onnx"


def test_values_come_from_their_place(tmp_path):
    loaded = files.load(model(tmp_path, location="./w.bin", offset="8", length="16"))
    assert loaded.graph.initializers["w"].const_value.numpy().tolist() == [2, 3, 4, 5]
    assert files.external_files(tmp_path / "model.onnx") == [tmp_path / "w.bin"]


@pytest.mark.parametrize(
    "location",
    ["../w.bin", "/etc/passwd", "a/../../w.bin", "", "a" * 300, "w\0.bin", "b/" + "c" * 256],
    ids=lambda name: name[:12],
)
@pytest.mark.parametrize("read", [files.load, files.external_files, files.size_bytes])
def test_a_name_that_is_none_or_leaves_the_folder_is_refused(tmp_path, location, read):
    with pytest.raises(ModelError, match=r"leaves the model's folder|no name of a file") as error:
        read(model(tmp_path, location=location))
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("place", [{"offset": "-4"}, {"offset": "abc"}, {"length": "-1"}, {"length": "1e3"}, {"offset": "²"}])
def test_a_place_that_is_no_number_names_the_constant(tmp_path, place):
    with pytest.raises(ModelError, match=r"the constant 'w' lies at the (offset|length) '.*no whole number of at least 0"):
        files.load(model(tmp_path, location="w.bin", **place))


@pytest.mark.parametrize("place", [{"offset": "12"}, {"offset": str(2**70)}, {"length": "12"}])
def test_a_place_beyond_the_file_is_refused(tmp_path, place):
    with pytest.raises(ModelError, match="ends early or is of another model"):
        files.load(model(tmp_path, location="w.bin", **place))


def constant_node(folder, location):
    """Write a model whose Constant node, and whose function, keep their values in a data file."""
    (folder / "model").mkdir()
    tensor = onnx.TensorProto(name="c", data_type=onnx.TensorProto.FLOAT, dims=[2], data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    add = [onnx.helper.make_node("Constant", [], ["c"], value=tensor), onnx.helper.make_node("Add", ["x", "c"], ["y"])]
    sets = [onnx.helper.make_opsetid("", 21), onnx.helper.make_opsetid("own", 1)]
    function = onnx.helper.make_function("own", "Shifted", ["x"], ["y"], add, sets)
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2]) for name in ("x", "z")]
    twice = [*add, onnx.helper.make_node("Shifted", ["y"], ["z"], domain="own")]
    graph = onnx.helper.make_graph(twice, "g", ends[:1], ends[1:])
    model = onnx.helper.make_model(graph, opset_imports=sets, functions=[function], ir_version=10)
    (folder / "model" / "m.onnx").write_bytes(model.SerializeToString())
    return folder / "model" / "m.onnx"


def test_values_of_nodes_are_read_from_the_models_folder_and_go_with_the_model(tmp_path):
    path = constant_node(tmp_path, "c.bin")
    np.array([3, 4], np.float32).tofile(path.with_name("c.bin"))
    files.save(files.load(path), tmp_path / "elsewhere" / "copy.onnx")
    session = ort.InferenceSession(str(tmp_path / "elsewhere" / "copy.onnx"))
    np.testing.assert_array_equal(session.run(None, {"x": np.zeros(2, np.float32)})[0], [6, 8])


def test_values_of_nodes_outside_the_models_folder_are_refused(tmp_path):
    path = constant_node(tmp_path, "../c.bin")
    np.array([3, 4], np.float32).tofile(tmp_path / "c.bin")
    with pytest.raises(ModelError, match=r"'\.\./c\.bin' leaves the model's folder"):
        files.load(path)
