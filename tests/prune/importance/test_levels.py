"""Versions of parts: errors grow as units go, and a fit is never worse than plain removal."""

from __future__ import annotations

import itertools

import pytest

from edgeopt.prune.calibration import Evidence
from edgeopt.prune.importance.levels import SCORES, levels_of
from edgeopt.prune.losses import loss_for
from edgeopt.prune.structure.anatomy import anatomy_of
from tests.prune.tiny_models import texts, tiny


@pytest.mark.parametrize("importance", ["obs", *SCORES])
def test_errors_grow_from_nothing_to_everything(importance: str) -> None:
    model, _, _ = tiny("bert")
    samples, parts = texts(6), anatomy_of(model).parts
    grid = {part.name: range(part.units) for part in parts}
    levels = levels_of(parts, Evidence(model, samples, loss_for(samples)), importance=importance, grid=grid)
    for part in parts:
        errors = [levels[part.name][count].error for count in range(part.units, -1, -1)]
        assert errors[0] == 0 and errors[-1] == pytest.approx(1)
        assert all(low <= high + 1e-9 for low, high in itertools.pairwise(errors)), errors


def test_a_fit_is_better_than_removal() -> None:
    model, _, _ = tiny("bert")
    samples, parts = texts(6), anatomy_of(model).parts
    grid = {part.name: [part.units // 2] for part in parts}
    evidence = Evidence(model, samples, loss_for(samples))
    plain, fitted = (levels_of(parts, evidence, importance="magnitude", grid=grid, refit=refit) for refit in (False, True))
    for part in parts:
        half = part.units // 2
        assert fitted[part.name][half].error < plain[part.name][half].error
        assert fitted[part.name][half].kept == plain[part.name][half].kept
