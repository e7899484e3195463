"""Plans replayed, and exceptions chosen to keep a metric."""

import json

import numpy as np
import onnx
import pytest

from edgeopt.errors import RecipeError
from edgeopt.metric import UNNAMED, Merit, Metric, Scale
from edgeopt.quantize import QuantizeConfig, quantize
from edgeopt.quantize.result import KeptMetric
from edgeopt.targets.target import load_target
from tests.quantize.conftest import bottlenecks, sqnr


def test_a_replayed_plan_gives_the_same_bytes_and_an_edited_one_is_obeyed(conv_model, images, saved, tmp_path, vnni):
    path = saved(conv_model)
    made = quantize(path, images, target=vnni, output=tmp_path / "a.onnx")
    again = quantize(path, images, target=vnni, output=tmp_path / "b.onnx", config=QuantizeConfig(plan=made.plan_path))
    assert made.path.read_bytes() == again.path.read_bytes()
    values = json.loads(made.plan_path.read_text())
    values["nodes"][2] |= {"precision": "float", "output": "float"}
    edited = tmp_path / "edited.json"
    edited.write_text(json.dumps(values))
    result = quantize(path, images, target=vnni, output=tmp_path / "c.onnx", config=QuantizeConfig(plan=edited))
    assert values["nodes"][2]["name"] in [island.node for island in result.facts.coverage.islands]
    with pytest.raises(RecipeError, match="for target x86-vnni, not arm64"):
        quantize(path, images, target=load_target("arm64"), output=tmp_path / "d.onnx", config=QuantizeConfig(plan=edited))


def test_the_worst_layer_becomes_the_exception(saved, images, tmp_path, vnni):
    text = """
    <ir_version: 10, opset_import: ["" : 21]>
    g (float[n, 3, 16, 16] x) => (float[n, 4] y) {
        a = Conv <kernel_shape = [1, 1]> (x, w1)
        r = Relu (a)
        b = Conv <kernel_shape = [1, 1]> (r, w2)
        p = GlobalAveragePool (b)
        f = Flatten (p)
        y = Gemm <transB = 1> (f, w3)
    }
    """
    model = onnx.parser.parse_model(text)
    generator = np.random.default_rng(0)
    for number, node in enumerate(model.graph.node):
        node.name = f"n{number}"
    for name, shape in {"w1": (8, 3, 1, 1), "w2": (4, 8, 1, 1), "w3": (4, 4)}.items():
        values = generator.uniform(0.2, 1, shape).astype(np.float32)
        if name == "w2":
            values[:, 0] = 3000  # one weight of each filter takes the whole grid …
        if name == "w1":
            values[0] = 1e-4  # … for a channel that says little
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    path = saved(model)
    config = QuantizeConfig(ranges="min-max", smooth=False)
    plain = quantize(path, images, target=vnni, output=tmp_path / "plain.onnx", config=config)
    reached = sqnr(plain.path, path, images[0])
    result = quantize(
        path,
        images,
        target=vnni,
        output=tmp_path / "kept.onnx",
        config=QuantizeConfig(ranges="min-max", smooth=False, max_drop=0.8),
        evaluate=lambda file: min(sqnr(file, path, images[0]) - reached - 5, 0) / 10 + 1 if file != path else 1.5,
    )
    assert result.facts.sensitivity[0].name == "n2"
    assert result.facts.sensitivity[0].sqnr_db < result.facts.sensitivity[1].sqnr_db - 3
    assert not result.facts.warnings or "metric" not in result.facts.warnings[0]


@pytest.fixture
def searched(conv_model, images, saved, tmp_path, vnni):
    """Return what quantizes, with 0.1 to lose, by a metric that is one figure for the original and another for all else."""
    path, config = saved(conv_model), QuantizeConfig(max_drop=0.1)

    def search(before: float, after: float, metric: Metric = UNNAMED):
        evaluate = Merit(metric, lambda file: metric.merit(before if file == path else after))
        return quantize(path, images, target=vnni, output=tmp_path / "out.onnx", config=config, evaluate=evaluate)

    return search


def test_a_metric_that_cannot_be_kept_is_a_warning(searched):
    result = searched(1.0, 0.5)
    assert "even with all layers in floating point" in result.facts.warnings[0]
    assert len(result.facts.sensitivity) == 3
    assert result.facts.metric == KeptMetric(1.0, 0.5)


@pytest.mark.parametrize(
    ("metric", "before", "after", "said"),
    [
        (
            Metric("perplexity", Scale.RATIO, larger_is_better=False),
            20.0,
            25.0,
            "25.0 % worse in perplexity (perplexity 20.0000 → 25.",
        ),
        (Metric("WER", larger_is_better=False), 0.125, 0.25, "loses 12.50 points of WER (WER 12.50 % → 25.00 %)"),
    ],
)
def test_a_metric_of_which_less_is_better_is_told_by_its_own_values(searched, metric, before, after, said):
    """Its merits were printed: negative numbers, of a perplexity logarithms."""
    result = searched(before, after, metric)
    kept = result.facts.metric
    assert (kept.before, kept.after) == pytest.approx((before, after))
    assert said in result.facts.warnings[0]
    assert said in next(decision.reason for decision in result.facts.decisions if decision.what == "exceptions")


def test_max_drop_needs_a_metric(conv_model, images, saved, tmp_path, vnni):
    with pytest.raises(RecipeError, match="evaluate"):
        quantize(saved(conv_model), images, target=vnni, output=tmp_path / "o.onnx", config=QuantizeConfig(max_drop=0.1))


def test_seven_bit_weights_where_sums_saturate(conv_model, images, saved, tmp_path):
    result = quantize(saved(conv_model), images, target=load_target("x86-avx2"), output=tmp_path / "out.onnx")
    choice = next(decision.choice for decision in result.facts.decisions if decision.what == "7-bit weights")
    plan = json.loads(result.plan_path.read_text())
    reduced = [node["name"] for node in plan["nodes"] if node["reduce_range"]]
    assert choice == f"{len(reduced)} of 3 layers"
    graph = onnx.load(result.path).graph
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type in {"Conv", "Gemm"}:
            name = next(other.input[0] for other in graph.node if node.input[1] in other.output)
            largest = np.abs(values[name]).max()
            assert largest <= (64 if node.name in reduced else 127)
            assert node.name in reduced or largest > 100


def test_the_metric_is_measured_on_what_is_written(saved, bottleneck_batches, tmp_path, vnni):
    """Padded channels, int8 tables and products for convolutions change the last digits, so a search must see them."""
    path, tried = saved(bottlenecks()), []

    def evaluate(file) -> float:
        tried.append(file.read_bytes())
        return 1.0

    config = QuantizeConfig(max_drop=0.0, exclude=["a"])
    made = quantize(path, bottleneck_batches, target=vnni, output=tmp_path / "out.onnx", config=config, evaluate=evaluate)
    graphs = [onnx.load_from_string(data).graph for data in (*tried, made.path.read_bytes())]
    forms = [sorted(node.op_type for node in graph.node) for graph in graphs]
    assert forms[1] == forms[2] != forms[0]
    assert "MatMulIntegerToFloat" in forms[1]


def test_a_drop_of_just_what_is_allowed_is_allowed(searched):
    assert 0.8 - 0.7 > 0.1  # in float64
    result = searched(0.8, 0.7)
    assert result.facts.coverage.int8_macs_share == 1.0
