from __future__ import annotations

import numpy as np

from edgeopt.quantize.language import guard as module
from edgeopt.quantize.language.builder import Builder
from edgeopt.quantize.language.guard import Flip, at_level, find_flips, guard
from edgeopt.quantize.language.layers import find_layers
from edgeopt.quantize.language.search import grouped


def test_levels_are_changed_in_a_copy(decoder):
    model, _ = decoder
    bits = {layer.name: 4 for layer in find_layers(model)}
    made = Builder(model, 32, 64, "rtn").build(bits)
    exact = at_level(made, 0, list(bits)[:2])
    levels = [node.attributes["accuracy_level"].value for node in exact.graph if node.op_type == "MatMulNBits"]
    assert levels == [0, 0] + [4] * 7
    assert all(node.attributes["accuracy_level"].value == 4 for node in made.graph if node.op_type == "MatMulNBits")


def test_texts_of_a_model_in_floating_point_are_equal_at_both_levels(decoder):
    model, facts = decoder
    flips, equal = find_flips(model, facts, [np.arange(5, 13), np.arange(20, 28)], threads=1)
    assert (flips, equal) == ([], 2)


def test_a_layer_that_flips_tokens_is_lifted_and_ties_are_not(decoder, monkeypatch):
    model, facts = decoder
    builder = Builder(model, 32, 64, "rtn")
    groups = grouped(find_layers(model))
    bits = {layer.name: 8 if layer.head else 4 for layer in find_layers(model)}
    text = np.arange(5, 15)
    answers = [([Flip(text, 2.0), Flip(text, 0.01)], 0), ([Flip(text, 0.01)], 1)]
    monkeypatch.setattr(module, "find_flips", lambda *_, **__: answers.pop(0))
    seen, found = guard(bits, groups, facts, [text, text], build=builder.build, threads=1)
    assert len(seen.lifted) == 1
    assert (seen.equal, seen.ties) == (1, 1)
    assert all(found[name] == 8 for name in groups[seen.lifted[0]])
    assert sum(count == 8 for count in found.values()) == 6


def test_texts_end_with_the_models_context(decoder):
    model, facts = decoder
    flips, equal = find_flips(model, facts, [np.arange(5, 5 + facts.context - 3)], threads=1)
    assert (flips, equal) == ([], 1)
