"""Second moments of inputs: of real tokens only, over all batches and all uses of a layer."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from edgeopt.prune.calibration import second_moments
from tests.prune.tiny_models import tiny


def test_moments_are_the_mean_of_outer_products() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(self.layer(x))

    model = Twice()
    rng = np.random.default_rng(0)
    batches = [{"x": rng.normal(size=(4, 3)).astype(np.float32)} for _ in range(2)]
    first = torch.from_numpy(np.concatenate([batch["x"] for batch in batches]))
    rows = torch.cat([first, model.layer(first).detach()]).double()
    found = second_moments(model, ["layer"], batches)["layer"]
    torch.testing.assert_close(found, rows.T @ rows / 16, rtol=1e-5, atol=1e-6)


def test_padded_tokens_do_not_count() -> None:
    model, _, _ = tiny("bert")
    ids = np.arange(5, 15).reshape(2, 5)
    mask = np.ones_like(ids)
    mask[1, 2:] = 0
    other = np.where(mask == 0, 50, ids)
    name = "bert.encoder.layer.0.output.dense"
    one, two = (second_moments(model, [name], [{"input_ids": tokens, "attention_mask": mask}])[name] for tokens in (ids, other))
    torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-9)


def test_moments_of_few_rows_are_shrunk_to_their_diagonal() -> None:
    class One(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x)

    rng = np.random.default_rng(0)
    for rows, left in ((3, 0.0), (16, 0.75)):
        x = rng.normal(size=(rows, 4)).astype(np.float32)
        whole, shrunk = (second_moments(One(), ["layer"], [{"x": x}], shrink=shrink)["layer"] for shrink in (False, True))
        torch.testing.assert_close(shrunk.diagonal(), whole.diagonal())
        torch.testing.assert_close(shrunk[0, 1:], left * whole[0, 1:])
