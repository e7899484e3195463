"""What each part bears alone; the model is left as it was."""

from __future__ import annotations

import pytest
import torch

from edgeopt.errors import RecipeError
from edgeopt.prune.config import PruneOptions
from edgeopt.prune.sensitivity import part_sensitivity
from tests.prune.tiny_models import texts, tiny


def test_divergence_grows_with_what_is_removed_and_the_model_stays() -> None:
    model, _, _ = tiny("bert")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = part_sensitivity(model, texts(8), options=PruneOptions())
    assert [part.units for part, _ in found] == [4, 64, 4, 64]
    for part, divergence in found:
        assert divergence[part.units] == 0 and divergence[0] > 0 and len(divergence) == 5
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_an_importance_of_other_networks_is_refused() -> None:
    with pytest.raises(RecipeError, match="norm-scale"):
        part_sensitivity(tiny("bert")[0], texts(2), options=PruneOptions(importance="norm-scale"))
