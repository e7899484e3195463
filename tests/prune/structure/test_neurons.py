"""Feed-forward networks are found, with gates, packed gates and depthwise convolutions; a user's rule finds others."""

from __future__ import annotations

from torch import nn

from edgeopt.prune.structure.names import Rule
from edgeopt.prune.structure.neurons import by_rules, neurons
from tests.prune.tiny_models import tiny


def test_gates_are_cut_with_the_up_projection() -> None:
    part = neurons(tiny("llama")[0])[0]
    assert [cut.layer.rpartition(".")[2] for cut in part.cuts()] == ["gate_proj", "up_proj", "down_proj"]


def test_a_packed_gate_has_two_starts() -> None:
    assert neurons(tiny("modernbert")[0])[0].writers[0].starts == (0, 64)


def test_a_depthwise_convolution_between_is_cut_too() -> None:
    part = neurons(tiny("segformer")[0])[0]
    assert any("dwconv" in cut.layer for cut in part.writers) and part.least == 1


def test_a_rule_names_layers_that_nobody_knows() -> None:
    model = nn.ModuleDict({"a": nn.ModuleDict({"to_q": nn.Linear(8, 12), "to_out": nn.Linear(12, 8)})})
    part = by_rules(model, [Rule(writers=["to_q"], reader="to_out", size=4)])[0]
    assert (part.units, part.least, part.readers[0].width) == (3, 1, 4)
    assert by_rules(model, [Rule(writers=["to_q"], reader="to_out", size=5)]) == []
