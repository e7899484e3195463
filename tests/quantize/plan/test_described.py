"""The defaults of a plan in words."""

import pytest

from edgeopt.quantize import QuantizeConfig
from edgeopt.quantize.plan.cause import Cause
from edgeopt.quantize.plan.described import explain
from edgeopt.quantize.plan.plan import NodePlan, Scheme
from edgeopt.targets.target import load_target

NODES = (
    NodePlan("a", "Conv", "int8", "int8", Cause.WEIGHTS),
    NodePlan("b", "MatMul", "int8", "float", Cause.WEIGHTS),
    NodePlan("c", "Softmax", "float", "float", Cause.NOT_WORTH, "Softmax"),
)


def decided(target="x86-vnni", **options):
    wishes = load_target(target).quantization
    scheme = Scheme(wishes.activation, wishes.weight, wishes.per_channel, wishes.symmetric_activation, wishes.symmetric_weight)
    return {it.what: it for it in explain(scheme, NODES, load_target(target), QuantizeConfig(**options))}


def test_integers_weights_and_placement_are_always_said():
    found = decided()
    assert found["integers"].choice == "uint8 activations, int8 weights per channel"
    assert found["weight bits"].choice == "8 bits"
    assert found["placement"].choice == "2 of 3 nodes on integers"
    assert found["outputs"].choice.startswith("1 integer nodes")


@pytest.mark.parametrize(
    ("options", "what", "choice", "reason"),
    [
        ({"smooth": False}, "smoothing", "off", "switched off (smooth)"),
        ({"correct_bias": False}, "bias correction", "off", "switched off (correct_bias)"),
        ({"embeddings": False}, "embedding tables", "float", "switched off (embeddings)"),
        ({"exclude": ["a", "b"]}, "excluded", "a, b", "named in the options (exclude)"),
        ({"ranges": "entropy"}, "ranges", "entropy", "the rounded distribution is nearest to the original"),
    ],
)
def test_an_option_that_is_set_is_the_reason(options, what, choice, reason):
    found = decided(**options)[what]
    assert (found.choice, found.reason) == (choice, reason)


def test_smoothing_is_part_of_the_automatic_ranges_alone():
    assert "smoothing" in decided() and "smoothing" not in decided(ranges="min-max")


def test_saturating_kernels_and_untested_targets_are_said():
    assert decided("x86-avx2")["weight bits"].choice == "7 bits where needed"
    assert "target" not in decided()
