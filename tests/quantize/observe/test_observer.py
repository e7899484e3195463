import numpy as np
import onnx
import onnxruntime as ort
import pytest

from edgeopt.errors import DataError
from edgeopt.models.onnx_file import signature
from edgeopt.quantize.graph.outputs import expose
from edgeopt.quantize.observe.observer import ObserveConfig, observe

TENSORS = ["x", "a", "r", "s", "y"]


def run_all(model: onnx.ModelProto, batches: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    session = ort.InferenceSession(expose(model, TENSORS[1:]).SerializeToString(), providers=["CPUExecutionProvider"])
    runs = [{**batch, **dict(zip(TENSORS[1:], session.run(TENSORS[1:], batch), strict=True))} for batch in batches]
    return {name: np.concatenate([run[name].reshape(-1) for run in runs]) for name in TENSORS}


@pytest.mark.parametrize("limit", [None, 40_000, 1])
def test_statistics_are_those_of_every_value_in_however_many_turns(conv_model, pictures, limit):
    config = ObserveConfig(memory_limit_bytes=limit)
    seen = observe(conv_model, pictures, TENSORS, signature=signature(conv_model), channels={"r": 1}, config=config)
    assert (seen.samples, seen.batches) == (8, 3)
    assert seen.turns == 1 if limit is None else seen.turns > 1
    for name, values in run_all(conv_model, pictures).items():
        statistics = seen.tensors[name]
        assert statistics.count == values.size
        np.testing.assert_allclose([statistics.minimum, statistics.maximum], [values.min(), values.max()], rtol=1e-6)
        assert statistics.histogram.counts.sum() == values.size
    assert seen.tensors["r"].channels.largest.shape == (8,)


def test_ragged_batches(text_model, sentences):
    seen = observe(text_model, sentences, ["h", "a"], signature=signature(text_model), channels={"h": -1})
    assert seen.samples == 4
    assert seen.tensors["h"].count == 16 * (3 + 9 + 5 + 12)


def test_an_activation_that_overflows_is_named(conv_model, pictures):
    weight = next(tensor for tensor in conv_model.graph.initializer if tensor.name == "w1")
    weight.CopyFrom(onnx.numpy_helper.from_array(np.full((8, 3, 3, 3), 3e38, dtype=np.float32), "w1"))
    with pytest.raises(DataError, match="tensor 'a' becomes NaN or infinite"):
        observe(conv_model, pictures, ["a"], signature=signature(conv_model), channels={})
