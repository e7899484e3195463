"""Predicted parameters and multiply-accumulates are those of the model that was cut."""

from __future__ import annotations

import pytest

from edgeopt.models.size import macs, parameters
from edgeopt.prune.allocation.costs import mac_costs, parameter_costs
from edgeopt.prune.structure.anatomy import anatomy_of
from edgeopt.prune.surgery import Choice, operate
from tests.prune.tiny_models import tiny


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama", "vit", "modernbert"])
def test_costs_predict_the_smaller_model(family: str) -> None:
    model, batch, _ = tiny(family)
    one = {name: array[:1] for name, array in batch.items()}
    parts = anatomy_of(model).parts
    counts = {part.name: max(1, part.units // (2 + place % 3)) for place, part in enumerate(parts)}
    by_parameters, by_macs = parameter_costs(model, parts), mac_costs(model, parts, one)
    whole = {part.name: part.units for part in parts}
    assert by_parameters.total(parts, whole) == parameters(model)
    assert by_macs.total(parts, whole) == pytest.approx(macs(model, one))
    predicted = by_parameters.total(parts, counts), by_macs.total(parts, counts)
    operate(model, [Choice(part, tuple(range(counts[part.name]))) for part in parts], batch)
    assert (parameters(model), macs(model, one)) == pytest.approx(predicted, rel=1e-6)
