"""Inner tensors read batch after batch, with the same and with other shapes."""

import numpy as np
import onnx
import pytest

from edgeopt.errors import DataError
from edgeopt.graph.exposed import ExposedModel
from edgeopt.graph.files import as_ir


@pytest.fixture
def model():
    return as_ir(onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> g (float[n, 3] x) => (float[n, 3] y) { a = Relu (x) y = Neg (a) }'
    ))  # fmt: skip


@pytest.mark.parametrize("arena", [True, False])
def test_values_are_those_of_each_batch(model, arena):
    exposed = ExposedModel(model, ["a", "y"], threads=1, arena=arena)
    for rows in (2, 2, 4, 1, 1):  # equal shapes are written over, others are not
        x = np.random.default_rng(rows).standard_normal((rows, 3), dtype=np.float32)
        values = exposed({"x": x}, sample=0)
        np.testing.assert_array_equal(values["a"], np.maximum(x, 0))
        np.testing.assert_array_equal(values["y"], -np.maximum(x, 0))


def test_strided_inputs_are_read_in_their_order(model):
    x = np.arange(12, dtype=np.float32).reshape(3, 4).T[:, ::-1]
    np.testing.assert_array_equal(ExposedModel(model, ["a"], threads=1)({"x": x}, sample=0)["a"], x)


def test_without_names_nothing_runs(model):
    assert ExposedModel(model, [], threads=1)({"x": np.zeros((1, 3), np.float32)}, sample=0) == {}


def test_a_batch_that_does_not_fit_names_its_sample(model):
    exposed = ExposedModel(model, ["a"], threads=1)
    exposed({"x": np.zeros((2, 3), np.float32)}, sample=0)
    with pytest.raises(DataError, match="calibration sample 7: the model cannot run on it"):
        exposed({"x": np.zeros((2, 5), np.float32)}, sample=7)
