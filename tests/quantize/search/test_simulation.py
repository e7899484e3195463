"""What roundings do to the outputs: against rounding by hand, and split between layers and residual additions."""

from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest

from edgeopt.quantize.apply.qdq import insert_qdq
from edgeopt.quantize.config import QuantizeConfig
from edgeopt.quantize.output_parts import decibels
from edgeopt.quantize.planner import draft_plan
from edgeopt.quantize.prepare import prepare
from edgeopt.quantize.search.simulation import Simulation, apart, of_weights
from edgeopt.targets.target import load_target
from tests.quantize.conftest import BOTTLENECKS, fill, named


@pytest.fixture(scope="module")
def drafted():
    """A model with a tensor, p1, that a layer and a residual addition read; its plan, and samples."""
    shapes = {"we": (32, 8, 1, 1), "be": (32,), "wd": (32, 1, 3, 3), "wp": (8, 32, 1, 1), "bp": (8,)}
    model = fill(named(onnx.parser.parse_model(BOTTLENECKS)), **shapes, wg=(10, 32), bg=(10,))
    generator = np.random.default_rng(7)
    batches = [{"x": generator.standard_normal((2, 8, 12, 12)).astype(np.float32)} for _ in range(3)]
    prepared = prepare(ir.from_proto(model), "net")
    plan = draft_plan(prepared, batches, load_target("arm64"), QuantizeConfig(ranges="min-max", share_ranges=False)).plan
    return prepared.model, plan, batches


def test_a_tensor_that_layers_and_additions_read_is_two_roundings(drafted):
    model, plan, batches = drafted
    roundings = Simulation(model, plan, batches, threads=1).roundings
    apart = {name: gate.readers for name, gate in roundings.gates.items() if gate.readers is not None}
    assert apart == {"p1 for layers": {"e2"}, "p1 for others": {"a"}}
    integer = plan.on_integers
    assert {"p1 for layers", "p1 for others", of_weights("e2")} <= roundings.of(integer)
    without_add = {name: rounds for name, rounds in integer.items() if name != "a"} | {"p1": False}
    assert "p1 for layers" in roundings.of(without_add) and "p1 for others" not in roundings.of(without_add)
    assert roundings.around("e2") >= {"p1 for layers", of_weights("e2")}


def simulated_db(simulation, integer, plan):
    return decibels(simulation.shares(integer, plan, range(3)).sum(axis=0))


def test_all_roundings_together_are_those_of_the_quantized_graph(drafted):
    """Weights are exact in the simulation, so the graph is given exact weights too."""
    model, plan, batches = drafted
    quantized = insert_qdq(model, plan)
    for node in quantized.graph:
        weight = node.inputs[1] if node.op_type in {"Conv", "Gemm"} else None
        for place in (1, 2) if weight is not None else ():
            name = {1: "w", 2: "b"}[place]
            exact = next(item.inputs[place] for item in model.graph if item.name == node.name)
            value = ir.Value(name=f"{node.name}_{name}_exact", const_value=exact.const_value, type=exact.type)
            quantized.graph.register_initializer(value)
            node.replace_input_with(place, value)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    sessions = [
        ort.InferenceSession(ir.to_proto(item).SerializeToString(), options, providers=["CPUExecutionProvider"])
        for item in (model, quantized)
    ]
    signal = noise = 0.0
    for batch in batches:
        exact, got = (session.run(None, batch)[0].astype(np.float64) for session in sessions)
        signal, noise = signal + np.square(exact).sum(), noise + np.square(exact - got).sum()
    found = simulated_db(Simulation(model, plan, batches, threads=1), plan.on_integers, plan)
    assert found == pytest.approx(10 * np.log10(signal / noise), abs=0.2)


def test_other_ranges_need_no_other_session(drafted):
    model, plan, batches = drafted
    simulation = Simulation(model, plan, batches, threads=1)
    wide = replace(plan, tensors=tuple(replace(item, low=2 * item.low, high=2 * item.high) for item in plan.tensors))
    before = simulated_db(simulation, plan.on_integers, plan)
    assert simulated_db(simulation, plan.on_integers, wide) == pytest.approx(before - 20 * np.log10(2), abs=2)
    assert simulated_db(simulation, {}, plan) == 150


def test_the_noises_add_up_to_what_all_bring(drafted):
    model, plan, batches = drafted
    simulation = Simulation(model, plan, batches, threads=1)
    noises = simulation.noises(plan.on_integers, insert_qdq(model, plan), range(3))
    activations = sum(float(noise[0]) for name, noise in noises.items() if not name.startswith("weights of "))
    assert -10 * np.log10(activations) == pytest.approx(simulated_db(simulation, plan.on_integers, plan), abs=0.01)
    assert {of_weights(name) for name in ("e1", "d1", "p1", "e2", "d2", "p2", "e3", "y")} <= noises.keys()


def test_halves_are_looked_into_only_where_noise_matters():
    amounts = dict.fromkeys("abcdefghijklmnop", 0.001) | {"a": 8.0, "m": 4.0, "n": 2.0}
    asked = []

    def measure(group):
        asked.append(group)
        return np.array([sum(amounts[name] for name in group)])

    total = measure(frozenset(amounts))
    found = apart(list(amounts), measure, np.array([0.01]), total)
    assert {name: round(float(noise[0]), 3) for name, noise in found.items()} == pytest.approx(amounts, abs=0.02)
    assert len(asked) < len(amounts)
