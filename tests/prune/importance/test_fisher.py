"""Fisher information of a mask: the squared gradient of the loss by what multiplies a unit."""

from __future__ import annotations

import pytest
import torch

from edgeopt.prune.calibration import Evidence
from edgeopt.prune.importance import fisher
from edgeopt.prune.losses import loss_for
from tests.prune.tiny_models import planted, texts


def test_the_neurons_that_matter_score_highest() -> None:
    model, part, alive = planted()
    samples = texts(8)
    found = fisher.scores([part], Evidence(model, samples, loss_for(samples)))[part.name]
    assert set(found.argsort(descending=True)[:3].tolist()) == alive


def test_the_score_is_the_squared_gradient_of_a_mask() -> None:
    model, part, _ = planted()
    samples = texts(1)
    loss, mask = loss_for(samples), torch.ones(part.units, requires_grad=True)
    reader = model.get_submodule(part.readers[0].layer)
    hook = reader.register_forward_pre_hook(lambda _, given: (given[0] * mask,))
    loss(model, samples.collate([0]), [0]).backward()
    hook.remove()
    found = fisher.scores([part], Evidence(model, samples, loss))[part.name]
    assert found.tolist() == pytest.approx((mask.grad.double() ** 2).tolist(), rel=1e-3, abs=1e-12)
