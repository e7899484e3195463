"""Taylor: the squared change of the loss, sample by sample."""

from __future__ import annotations

import pytest
import torch

from edgeopt.prune.calibration import Evidence
from edgeopt.prune.importance import taylor
from edgeopt.prune.losses import loss_for
from tests.prune.tiny_models import planted, texts


def test_the_neurons_that_matter_score_highest() -> None:
    model, part, alive = planted()
    samples = texts(8)
    found = taylor.scores([part], Evidence(model, samples, loss_for(samples)))[part.name]
    assert set(found.argsort(descending=True)[:3].tolist()) == alive


def test_the_score_is_the_squared_sum_of_weight_times_gradient() -> None:
    model, part, _ = planted()
    samples = texts(2)
    loss, wanted = loss_for(samples), 0.0
    for index in range(2):
        model.zero_grad()
        loss(model, samples.collate([index]), [index]).backward()
        up, down = (model.get_submodule(cut.layer) for cut in part.cuts())
        with torch.no_grad():
            change = (up.weight * up.weight.grad)[3].sum() + up.bias[3] * up.bias.grad[3]
            change += (down.weight * down.weight.grad)[:, 3].sum()
        wanted += float(change) ** 2 / 2
    found = taylor.scores([part], Evidence(model, samples, loss))[part.name][3]
    assert float(found) == pytest.approx(wanted, rel=1e-3)
    assert up.weight.grad is None
