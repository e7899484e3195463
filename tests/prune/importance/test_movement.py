"""Movement scores beside the sum of equation 4 in a plain loop."""

from __future__ import annotations

import copy

import pytest
import torch

from edgeopt.prune.calibration import Evidence
from edgeopt.prune.importance import movement
from edgeopt.prune.losses import loss_for
from edgeopt.prune.structure.anatomy import anatomy_of
from tests.prune.tiny_models import texts, tiny


def test_scores_are_what_training_takes_from_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(movement, "_STEPS", 3)
    model, _, _ = tiny("bert")
    samples, weights = texts(8), {name: value.clone() for name, value in model.state_dict().items()}
    parts = [part for part in anatomy_of(model).parts if part.name == "bert.encoder.layer.0"]
    found = movement.scores(parts, Evidence(model, samples, loss_for(samples)))[parts[0].name]
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    trained, loss, expected = copy.deepcopy(model), loss_for(samples), torch.zeros(parts[0].units, dtype=torch.float64)
    for _ in range(3):
        trained.zero_grad()
        loss(trained, samples.collate(range(8)), range(8)).backward()
        layer = trained.get_submodule("bert.encoder.layer.0")
        up, down = layer.intermediate.dense, layer.output.dense
        for unit in range(parts[0].units):
            moved = (up.weight.grad[unit] * up.weight[unit]).sum() + up.bias.grad[unit] * up.bias[unit]
            expected[unit] -= float((moved + (down.weight.grad[:, unit] * down.weight[:, unit]).sum()).detach())
        total = torch.sqrt(sum(value.grad.pow(2).sum() for value in trained.parameters() if value.grad is not None))
        with torch.no_grad():
            for value in [value for value in trained.parameters() if value.grad is not None]:
                value.sub_(1e-2 * value.grad * min(1.0, 1.0 / float(total + 1e-6)))
    assert torch.allclose(found, expected, rtol=1e-3, atol=1e-7)
