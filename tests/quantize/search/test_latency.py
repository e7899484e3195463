"""Layers that are slower on integers become floats, if the whole model gains by it."""

from dataclasses import replace

import pytest

from edgeopt.graph.files import as_ir
from edgeopt.quantize import QuantizeConfig, quantize
from edgeopt.quantize.plan.cause import Cause
from edgeopt.quantize.plan.plan import NodePlan, Plan, Scheme
from edgeopt.quantize.search import latency
from edgeopt.quantize.search.latency import compare, layer_times
from edgeopt.targets.replies import Noise, OperatorRow, Operators, State, TimedBlocks


class Told:
    """A runner that answers with the times it was given, us by node and ns by variant."""

    def __init__(self, operators, runs):
        self.operators, self.runs = operators, runs

    def ask(self, request, *, timeout_s=600.0):
        if request["do"] == "operators":
            return Operators(10, [row(name, us) for name, us in self.operators[request["name"]].items()], None)
        blocks = [(name, [self.runs[name]] * runs) for name, _, runs in request["blocks"]]
        return TimedBlocks(blocks, Noise(1.0, 1.0, 0.0, 0.0, 0), State(None, None, None, None))


def row(name, us):
    return OperatorRow(name, "Conv", [], [], 0, "CPUExecutionProvider", 1, us)


@pytest.fixture
def told(monkeypatch):
    """Let `latency` measure on a runner that says what the test wants."""
    from contextlib import contextmanager

    def install(operators, runs):
        @contextmanager
        def running(target, models, batches):
            yield Told(operators, runs)

        monkeypatch.setattr(latency, "_running", running)

    return install


def named(saved, model):
    for number, node in enumerate(model.graph.node):
        node.name = f"n{number}"
    return saved(model)


FLOAT = {"n0": 100.0, "n2": 50.0, "n6": 10.0}


@pytest.mark.parametrize(("gain", "floating"), [(1.2, {"n2"}), (0.9, set())])
def test_a_layer_that_is_slower_on_integers_stays_floating_if_the_model_gains(  # noqa: PLR0917  (fixtures)
    gain, floating, told, conv_model, images, saved, tmp_path, vnni
):
    told({"float": FLOAT, "integer": {"n0_token_3": 30.0, "n2": 80.0, "n6": 9.0}}, {"all": 1000.0 * gain, "mixed": 1000.0})
    config = QuantizeConfig(prefer_faster=True)
    result = quantize(named(saved, conv_model), images, target=vnni, output=tmp_path / "q.onnx", config=config)
    slower = {island.node for island in result.facts.coverage.islands if "prefer_faster" in island.reason}
    assert slower == floating
    decision = next(decision for decision in result.facts.decisions if decision.what == "faster as floats")
    assert decision.choice == f"{len(floating)} layers"
    assert "n2" in decision.reason


def test_conversions_count_for_the_layer_that_alone_needs_them(conv_model, images, saved, tmp_path, vnni):
    import onnx

    result = quantize(named(saved, conv_model), images, target=vnni, output=tmp_path / "q.onnx")
    model = onnx.load(result.path)
    scheme = Scheme("uint8", "int8", per_channel=True, symmetric_activation=False, symmetric_weight=True)
    plan = Plan("t", scheme, (NodePlan("n2", "Conv", "int8", "int8", Cause.WEIGHTS),), (), ())
    behind = next(node for node in model.graph.node if node.op_type == "QuantizeLinear" and node.input[0] == "c")
    times = layer_times(as_ir(model), plan, {"n2": 5.0}, {"n2": 4.0, behind.name: 2.5, "x_QuantizeLinear": 100.0})
    assert [(time.float_us, time.integer_us) for time in times] == [(5.0, 6.5)]
    assert layer_times(as_ir(model), replace(plan, nodes=()), {"n2": 5.0}, {"n2": 4.0}) == ()


def test_the_comparison_is_of_neighbouring_turns():
    faster, spread = compare(Told({}, {"a": 300.0, "b": 200.0}), "a", "b")
    assert (faster, spread) == (1.5, 0.0)


def test_it_runs_on_this_machine(conv_model, images, saved, tmp_path, vnni):
    config = QuantizeConfig(prefer_faster=True)
    result = quantize(named(saved, conv_model), images, target=vnni, output=tmp_path / "q.onnx", config=config)
    assert any(decision.what == "faster as floats" for decision in result.facts.decisions)
