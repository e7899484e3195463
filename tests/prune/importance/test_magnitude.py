"""Magnitude: the norm of all weights that go with a unit."""

from __future__ import annotations

import pytest

from edgeopt.prune.calibration import Evidence
from edgeopt.prune.importance import magnitude
from edgeopt.prune.losses import loss_for
from edgeopt.prune.structure.parts import rows_of
from tests.prune.tiny_models import planted, texts


def test_the_neurons_that_matter_score_highest() -> None:
    model, part, alive = planted()
    samples = texts(8)
    found = magnitude.scores([part], Evidence(model, samples, loss_for(samples)))[part.name]
    assert set(found.argsort(descending=True)[:3].tolist()) == alive


def test_the_score_is_the_norm_of_all_that_goes() -> None:
    model, part, _ = planted()
    up = model.get_submodule(part.writers[0].layer)
    down = rows_of(model.get_submodule(part.readers[0].layer))
    wanted = (up.weight.detach()[5] ** 2).sum() + up.bias.detach()[5] ** 2 + (down[:, 5] ** 2).sum()
    found = magnitude.score(part, Evidence(model, texts(), loss_for(texts())))[5]
    assert float(found) == pytest.approx(float(wanted.sqrt()), rel=1e-5)
