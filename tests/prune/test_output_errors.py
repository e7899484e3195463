from __future__ import annotations

import pytest
import torch

from edgeopt.models.call import to_tensors
from edgeopt.prune.losses import main_output
from edgeopt.prune.output_errors import output_errors
from edgeopt.prune.structure.anatomy import anatomy_of
from edgeopt.prune.structure.parts import mask
from tests.prune.tiny_models import texts, tiny


@torch.no_grad()
def test_an_emptied_part_has_the_error_that_masking_it_has() -> None:
    model, _, _ = tiny("bert")
    parts, samples = anatomy_of(model).parts, texts(12)
    batch = to_tensors(samples.collate(range(12)))
    whole = main_output(model, batch)
    found = output_errors(model, parts, samples, grid={part.name: [0] for part in parts})
    assert torch.equal(main_output(model, batch), whole)  # its weights are as they were
    for part in parts:
        assert found[part.name][part.units] == 0.0
        other, _, _ = tiny("bert")
        mask(other, part, [])
        change = main_output(other, batch) - whole
        assert found[part.name][0] == pytest.approx(float(change.square().mean() / whole.square().mean()), rel=1e-3)
