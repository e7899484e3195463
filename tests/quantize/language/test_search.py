from __future__ import annotations

from functools import partial

from edgeopt.quantize.language.builder import Builder
from edgeopt.quantize.language.layers import find_layers
from edgeopt.quantize.language.search import Measures, grouped, lift_layers
from edgeopt.quantize.language.text import Likelihood, Reader


def test_layers_are_groups_and_the_head_is_none(decoder):
    groups = grouped(find_layers(decoder[0]))
    assert sorted(groups) == ["layer 0", "layer 1"]
    assert all(len(names) == 5 for names in groups.values())


def test_the_fewest_layers_that_keep_the_bound_are_lifted(decoder, windows):
    model, facts = decoder
    bits = {layer.name: 8 if layer.head else 4 for layer in find_layers(model)}
    sizes = []

    def measure(made, *, enough):
        eights = sum(node.op_type == "MatMulNBits" and node.attributes["bits"].value == 8 for node in made.graph)
        sizes.append(eights)
        return Likelihood(1, 1.0, 1.01 if eights >= enough else 1.5, 0.0, 1.0)

    exact = Reader(model, facts)
    builder = Builder(model, 32, 64, "rtn")

    def lift(enough):
        measures = Measures(exact, windows[:1], partial(measure, enough=enough), lambda made: Reader(made, facts))
        return lift_layers(builder, bits, measures, bound=0.05)

    found = lift(5)  # (a layer's four products, gate and up as one, and the head)
    assert found.held
    assert len(found.groups) == 1
    assert found.gains[found.groups[0]] == max(found.gains.values())
    failed = lift(99)
    assert not failed.held
    assert len(failed.groups) == 2


def test_matrices_that_are_excluded_are_not_lifted(decoder, windows):
    model, facts = decoder
    excluded = next(layer.name for layer in find_layers(model) if not layer.head)
    bits = {layer.name: 4 for layer in find_layers(model) if not layer.head and layer.name != excluded}
    seen = []

    def measure(made):
        seen.append(made)
        return Likelihood(1, 1.0, 2.0, 0.0, 1.0)

    measures = Measures(Reader(model, facts), windows[:1], measure, lambda made: Reader(made, facts))
    lift_layers(Builder(model, 32, 64, "rtn"), bits, measures, bound=0.05)
    kinds = {node.name: node.op_type for node in seen[-1].graph}
    assert kinds[excluded] == "MatMul"
