"""The layers that make the outputs are found behind slices, sums and reshapes."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from edgeopt.prune.heads import heads


class _TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.boxes, self.scores = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 4, 1), nn.Conv2d(8, 3, 1)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = torch.relu(self.body(image))
        return self.boxes(features).flatten(2).transpose(1, 2), self.norm(self.scores(features)).sigmoid()[:, :2]


def test_every_output_names_its_layers_and_none_before() -> None:
    model = _TwoHeads()
    found = heads(model, {"image": np.zeros((2, 1, 8, 8), np.float32)})
    assert {id(layer) for layer in found} == {id(model.boxes), id(model.norm), id(model.scores)}
