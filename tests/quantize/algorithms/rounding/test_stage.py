"""Adaptive rounding as a step of the stage: what the plan says of it, and when nothing changes."""

import numpy as np
import pytest

from edgeopt.quantize import QuantizeConfig
from edgeopt.quantize.algorithms.rounding import stage
from edgeopt.quantize.algorithms.rounding.stage import adapted, adapted_if_better
from edgeopt.quantize.apply.bias import rounded_layers, store_bias
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


def eight_batches():
    generator = np.random.default_rng(3)
    return [{"x": generator.standard_normal((2, 3, 16, 16)).astype(np.float32)} for _ in range(8)]


@pytest.mark.parametrize("better", [True, False])
def test_integers_that_bring_the_outputs_no_nearer_are_not_kept(drafted, monkeypatch, better):
    prepared, outcome = drafted
    before = weights(outcome.quantized)
    if not better:
        monkeypatch.setattr(stage, "adapted", spoilt)
    made = adapted_if_better(prepared, outcome, eight_batches(), config=CONFIG.model_copy(update={"rounding_samples": 8}))
    (decision,) = [item for item in made.plan.decisions if item.what == "rounding"]
    with_nearest, db = (
        float(part.split()[-1]) for part in decision.reason.split(" held aside: ")[1].removesuffix(" dB").split(" → ")
    )
    assert "on 6 batches" in decision.reason
    moved = any(not np.array_equal(values, before[name]) for name, values in weights(made.quantized).items())
    assert moved == better == (db >= with_nearest)
    assert decision.choice.endswith("up or down") if better else decision.choice == "nearest, as it was"


def spoilt(*arguments, **options):
    """Return what `adapted` does, and then every bias at 0."""
    made = adapted(*arguments, **options)
    for layer in rounded_layers(arguments[0].model, made.quantized):
        store_bias(layer.there.inputs[2], np.zeros(len(layer.weight)))
    return made


def test_without_time_the_outcome_stays(drafted, images):
    prepared, outcome = drafted
    before = weights(outcome.quantized)
    assert adapted(prepared, outcome, images, 0.0, config=CONFIG) is outcome
    assert all(np.array_equal(values, before[name]) for name, values in weights(outcome.quantized).items())
