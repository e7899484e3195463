import numpy as np
import onnx
import onnxruntime as ort
import pytest

from edgeopt.errors import DataError
from edgeopt.graph.files import as_ir, serialized, signature
from edgeopt.graph.outputs import expose
from edgeopt.quantize.calibrate.calibrator import ObserveConfig
from edgeopt.quantize.calibrate.observe import observe

TENSORS = ["x", "a", "r", "s", "y"]


def run_all(model: onnx.ModelProto, batches: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    session = ort.InferenceSession(serialized(expose(as_ir(model), TENSORS[1:])), providers=["CPUExecutionProvider"])
    runs = [{**batch, **dict(zip(TENSORS[1:], session.run(TENSORS[1:], batch), strict=True))} for batch in batches]
    return {name: np.concatenate([run[name].reshape(-1) for run in runs]) for name in TENSORS}


@pytest.mark.parametrize("limit", [None, 40_000, 1])
def test_statistics_are_those_of_every_value_in_however_many_turns(conv_model, images, limit):
    config = ObserveConfig(memory_limit_bytes=limit)
    seen = observe(as_ir(conv_model), images, TENSORS, signature=signature(as_ir(conv_model)), channels={"r": 1}, config=config)
    assert (seen.samples, seen.batches) == (8, 3)
    assert seen.turns == 1 if limit is None else seen.turns > 1
    for name, values in run_all(conv_model, images).items():
        statistics = seen.tensors[name]
        assert statistics.count == values.size
        np.testing.assert_allclose([statistics.minimum, statistics.maximum], [values.min(), values.max()], rtol=1e-6)
        assert statistics.histogram.counts.sum() == values.size
    assert seen.tensors["r"].channels.largest.shape == (8,)


def test_ragged_batches(text_model, sentences):
    seen = observe(as_ir(text_model), sentences, ["h", "a"], signature=signature(as_ir(text_model)), channels={"h": -1})
    assert seen.samples == 4
    assert seen.tensors["h"].count == 16 * (3 + 9 + 5 + 12)


def test_an_activation_that_overflows_is_named(conv_model, images):
    weight = next(tensor for tensor in conv_model.graph.initializer if tensor.name == "w1")
    weight.CopyFrom(onnx.numpy_helper.from_array(np.full((8, 3, 3, 3), 3e38, dtype=np.float32), "w1"))
    with pytest.raises(DataError, match="tensor 'a' becomes NaN or infinite"):
        observe(as_ir(conv_model), images, ["a"], signature=signature(as_ir(conv_model)), channels={})


MASKED = """
<ir_version: 10, opset_import: ["" : 21]>
masked (int64[n, s] input_ids, int64[n, s] attention_mask) => (float[n, s, 16] y) {
    e = Gather (table, input_ids)
    y = Mul (e, two)
}
"""


def test_padding_does_not_count():
    model = onnx.parser.parse_model(MASKED)
    table = np.random.default_rng(0).standard_normal((50, 16)).astype(np.float32)
    table[0] = 1000  # what padding would bring in
    for name, values in {"table": table, "two": np.array(2, np.float32)}.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    lengths = (3, 7, 5)
    sentences = [np.random.default_rng(length).integers(1, 50, (1, length)) for length in lengths]
    alone = [{"input_ids": ids, "attention_mask": np.ones_like(ids)} for ids in sentences]
    padded = {name: np.zeros((3, 7), np.int64) for name in ("input_ids", "attention_mask")}
    for row, ids in enumerate(sentences):
        padded["input_ids"][row, : ids.size], padded["attention_mask"][row, : ids.size] = ids, 1
    seen = [
        observe(as_ir(model), batches, ["e", "y"], signature=signature(as_ir(model)), channels={"e": -1}).tensors
        for batches in (alone, [padded])
    ]
    for name in ("e", "y"):
        one, other = seen[0][name], seen[1][name]
        assert one.count == other.count == 16 * sum(lengths)
        assert (one.minimum, one.maximum) == (other.minimum, other.maximum)
        np.testing.assert_array_equal(one.histogram.counts, other.histogram.counts)
    assert seen[1]["y"].maximum < 100
