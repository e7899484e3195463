"""Sessions: what they are opened with, and what is said when they cannot be."""

import sys

import numpy as np
import onnx
import pytest

from edgeopt.errors import MachineError, ModelError
from edgeopt.graph import files
from edgeopt.graph.files import as_ir
from edgeopt.graph.provider import Provider
from edgeopt.graph.session import SessionConfig, large_config, open_model, open_session

RELU = '<ir_version: 10, opset_import: ["" : 21]> g (float[n] x) => (float[n] y) { a = Identity (x) y = Relu (a) }'


def test_a_model_in_memory_runs():
    session = open_model(as_ir(onnx.parser.parse_model(RELU)))
    np.testing.assert_array_equal(session.run(None, {"x": np.array([-1, 2], np.float32)})[0], [0, 2])


def test_the_configuration_reaches_the_session(tmp_path):
    config = SessionConfig(threads=2, optimization="basic", optimized_path=tmp_path / "o.onnx", arena=False, prepacking=False)
    session = open_session(onnx.parser.parse_model(RELU).SerializeToString(), config=config)
    options = session.get_session_options()
    assert (options.intra_op_num_threads, options.enable_cpu_mem_arena) == (2, False)
    assert options.get_session_config_entry("session.disable_prepacking") == "1"
    assert [node.op_type for node in onnx.load(tmp_path / "o.onnx").graph.node] == ["Relu"]


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are POSIX")
def test_a_disk_too_full_for_the_optimized_file_is_named(tmp_path):
    import resource

    data = onnx.parser.parse_model(RELU).SerializeToString()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(MachineError, match=r"o\.onnx: the disk is full"):
            open_session(data, config=SessionConfig(optimization="basic", optimized_path=tmp_path / "o.onnx"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_threads_are_the_providers_unless_named():
    data = onnx.parser.parse_model(RELU).SerializeToString()
    assert open_session(data, Provider(threads=2)).get_session_options().intra_op_num_threads == 2


def test_a_provider_that_is_not_here_is_named_with_those_that_are():
    with pytest.raises(MachineError, match=r"provider NoSuchProvider is not in this onnxruntime .*CPUExecutionProvider"):
        open_session(b"", Provider(name="NoSuchProvider"))


def test_an_unknown_operator_is_named(tmp_path):
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21, "my" : 1]> g (float[n] x) => (float[n] y) { y = my.Thing (x) }'
    )
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    with pytest.raises(ModelError, match=r"model\.onnx: operator my[:.]Thing is not registered in onnxruntime"):
        open_session(path)


def test_a_file_that_is_no_model_is_refused_in_one_line(tmp_path):
    path = tmp_path / "bad.onnx"
    path.write_bytes(b"\x00" * 40)
    with pytest.raises(ModelError, match=r"bad\.onnx: onnxruntime .* cannot load it: ") as caught:
        open_session(path)
    assert "\n" not in str(caught.value)


def test_weights_beyond_one_message_are_not_copied_for_the_kernels(monkeypatch):
    model = as_ir(onnx.parser.parse_model(RELU))
    assert large_config(model, SessionConfig()).prepacking
    monkeypatch.setattr(files, "fits_one_message", lambda model: False)
    assert not large_config(model, SessionConfig()).prepacking
