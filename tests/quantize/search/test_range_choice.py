"""`auto` against one method for all tensors, on samples that calibration was not shown."""

import numpy as np
import onnx
import pytest

from edgeopt.graph import files
from edgeopt.quantize import QuantizeConfig, quantize
from edgeopt.quantize.calibrate.calibrator import ObserveConfig
from edgeopt.quantize.calibrate.observe import held_aside, observe
from edgeopt.quantize.inspect.exact import ExactOutputs
from edgeopt.quantize.search.range_choice import best
from edgeopt.targets.target import load_target
from tests.quantize.conftest import fill, named

LINES = """
<ir_version: 10, opset_import: ["" : 21]>
lines (float[n, 1, 32, w] x) => (float[n, 12, 1, w] y) {
    a = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 1]> (x, w1)
    b = Sigmoid (a)
    c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 1], group = 24> (b, w2)
    d = HardSwish (c)
    m = ReduceMean <keepdims = 1> (d, axes)
    y = Conv (m, w3)
}
"""
"""A reader of text lines of any width: its first layer saturates, so that rare bright spots say nothing."""
WAYS = ("auto", "min-max", "percentile", "mse")


def reader() -> onnx.ModelProto:
    model = fill(named(onnx.parser.parse_model(LINES)), w1=(24, 1, 3, 3), w2=(24, 1, 3, 3), w3=(12, 24, 1, 1))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([2], np.int64), "axes"))
    return model


def lines(seed: int, count: int) -> list[dict[str, np.ndarray]]:
    """Return lines of different widths, in which three pixels of 100,000 are very bright."""
    generator = np.random.default_rng(seed)
    found = []
    for width in generator.integers(20, 120, count):
        pixels = generator.standard_normal((1, 1, 32, width))
        found.append({"x": (pixels + 60.0 * (generator.random(pixels.shape) < 3e-5)).astype(np.float32)})
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The model quantized in each way, with the decibels of its outputs on lines that were used nowhere else."""
    folder = tmp_path_factory.mktemp("ways")
    path = folder / "model.onnx"
    onnx.save(reader(), path)
    exact = ExactOutputs(files.load(path), lines(seed=1, count=16))
    found = {}
    for way in WAYS:
        output = folder / f"{way}.onnx"
        config = QuantizeConfig(ranges=way, float_layers="none")
        facts = quantize(path, lines(0, 32), target=load_target("x86-vnni"), output=output, config=config).facts
        found[way] = exact.db(files.load(output)), facts
    return found


def test_auto_is_as_good_as_the_best_single_method(made) -> None:
    decibels = {way: round(db, 2) for way, (db, _) in made.items()}
    assert decibels["auto"] >= max(decibels.values()) - 0.5, decibels
    assert max(decibels.values()) - min(decibels.values()) > 3, decibels  # else the net shows nothing


def test_it_is_said_what_was_chosen_and_why(made) -> None:
    _, facts = made["auto"]
    (chosen,) = [decision for decision in facts.decisions if decision.what == "ranges chosen"]
    assert chosen.choice in {"mse", "percentile"}
    assert "dB of the outputs on 8 samples held aside: auto " in chosen.reason
    assert facts.samples == 32  # what was held aside counts in the ranges that are written


def test_auto_stays_unless_another_is_clearly_better() -> None:
    def noises(**db: float) -> dict:
        return {way.replace("_", "-"): np.full((8, 1), 10 ** (-value / 10) / 8) for way, value in db.items()}

    assert best(noises(auto=20.0, min_max=20.2, percentile=12.0, mse=19.0)) == "auto"
    assert best(noises(auto=20.0, min_max=20.2, percentile=21.0, mse=20.9)) == "percentile"


def test_one_batch_on_which_another_is_better_by_chance_does_not_count() -> None:
    auto = np.array([[0.02, 0.0], [0.02, 0.0], [0.02, 0.0], [0.18, 0.0]])
    by_chance = np.array([[0.05, 0.0], [0.05, 0.0], [0.05, 0.0], [0.01, 0.0]])  # less in all, more on three of four
    always = np.array([[0.018, 0.1], [0.018, 0.0], [0.018, 0.0], [0.15, 0.0]])
    assert by_chance.sum() < always[:, 0].sum() < auto.sum()
    assert best({"auto": auto, "mse": by_chance}) == "auto"
    assert best({"auto": auto, "mse": by_chance, "percentile": always}) == "percentile"
    assert best({"auto": auto[3:], "mse": by_chance[3:]}) == "mse"  # one batch tells what it tells


def test_what_is_held_aside_is_the_same_each_time_and_joins_the_rest() -> None:
    assert held_aside(32, 8) == held_aside(32, 8)
    assert len(held_aside(32, 8)) == 8
    assert held_aside(3, 8) == frozenset({0, 1, 2})
    model, batches = files.as_ir(reader()), lines(0, 12)
    signature = files.signature(model)
    whole = observe(model, batches, ["a"], signature=signature, channels={})
    apart = observe(model, batches, ["a"], signature=signature, channels={}, config=ObserveConfig(aside=3))
    assert [batch["x"].shape for batch in apart.held] == [batches[number]["x"].shape for number in sorted(held_aside(12, 3))]
    assert 0 < apart.aside["a"].count < apart.tensors["a"].count < whole.tensors["a"].count
    joined = apart.joined()
    assert joined.tensors["a"].count == whole.tensors["a"].count
    assert (joined.tensors["a"].minimum, joined.tensors["a"].maximum) == (
        whole.tensors["a"].minimum,
        whole.tensors["a"].maximum,
    )
    np.testing.assert_array_equal(joined.tensors["a"].histogram.counts, whole.tensors["a"].histogram.counts)
