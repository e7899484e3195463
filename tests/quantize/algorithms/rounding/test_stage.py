"""Adaptive rounding as a step of the stage: what the plan says of it, and when nothing changes."""

import numpy as np
import pytest

from edgeopt.quantize import QuantizeConfig
from edgeopt.quantize.algorithms.rounding.stage import adapted
from edgeopt.quantize.prepare import prepare_for
from edgeopt.quantize.schemes import static
from edgeopt.quantize.schemes.scheme import Request
from edgeopt.quantize.search.trials import Outcome

CONFIG = QuantizeConfig(float_layers="none", collapse_db=None, rounding_samples=2)


@pytest.fixture
def drafted(conv_model, images, saved, vnni):
    """The prepared model, its quantized form, and the options."""
    prepared = prepare_for(saved(conv_model), vnni, rewrite=True)
    request = Request(prepared, images, CONFIG, target=vnni)
    converted = static.convert(request)
    return prepared, Outcome(converted.plan(request), converted.model)


def weights(model):
    return {name: value.const_value.numpy().copy() for name, value in model.graph.initializers.items()}


def test_the_plan_says_how_many_layers_and_what_it_gained(drafted, images):
    prepared, outcome = drafted
    before = weights(outcome.quantized)
    made = adapted(prepared, outcome, images, config=CONFIG)
    (decision,) = [item for item in made.plan.decisions if item.what == "rounding"]
    assert decision.choice.endswith("layers, each weight up or down") and int(decision.choice.split()[0]) == 3
    assert "on 2 batches falls by" in decision.reason and float(decision.reason.split("by ")[1].split()[0]) > 0
    after = weights(made.quantized)
    moved = [name for name in before if not np.array_equal(before[name], after[name])]
    for name in moved:
        assert before[name].dtype in (np.int8, np.uint8, np.int32), name
        if before[name].dtype != np.int32:
            assert np.abs(before[name].astype(int) - after[name].astype(int)).max() <= 1, name
    assert moved


def test_without_time_the_outcome_stays(drafted, images):
    prepared, outcome = drafted
    before = weights(outcome.quantized)
    assert adapted(prepared, outcome, images, 0.0, config=CONFIG) is outcome
    assert all(np.array_equal(values, before[name]) for name, values in weights(outcome.quantized).items())
