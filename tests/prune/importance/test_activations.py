"""Weights times activations."""

from __future__ import annotations

import pytest
import torch

from edgeopt.prune.calibration import Evidence
from edgeopt.prune.importance import activations
from edgeopt.prune.losses import loss_for
from edgeopt.prune.structure.parts import rows_of
from tests.prune.tiny_models import planted, texts


def test_the_neurons_that_matter_score_highest() -> None:
    model, part, alive = planted()
    samples = texts(8)
    found = activations.scores([part], Evidence(model, samples, loss_for(samples)))[part.name]
    assert set(found.argsort(descending=True)[:3].tolist()) == alive


def test_the_score_is_weights_times_the_norm_of_their_inputs() -> None:
    model, part, _ = planted()
    samples, seen = texts(4), []
    reader = model.get_submodule(part.readers[0].layer)
    hook = reader.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach().flatten(0, 1)))
    model(**{name: torch.from_numpy(array) for name, array in samples.collate(range(4)).items()})
    hook.remove()
    wanted = rows_of(reader)[:, 7].abs().sum() * (torch.cat(seen)[:, 7] ** 2).mean().sqrt()
    found = activations.scores([part], Evidence(model, samples, loss_for(samples)))[part.name][7]
    assert float(found) == pytest.approx(float(wanted), rel=1e-4)
