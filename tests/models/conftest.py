"""A small saved model, and a small torch.export program."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from edgeopt.models.load import Origin
from edgeopt.models.residual_cnn import ResidualCNN
from edgeopt.models.save import save_model

BUILDER = "edgeopt.models.residual_cnn:ResidualCNN"


def saved(folder: Path) -> ResidualCNN:
    """Save a classifier of two classes into `folder` and return it."""
    torch.manual_seed(0)
    model = ResidualCNN(width=4).eval()
    save_model(model, folder, origin=Origin(BUILDER, {"width": 4}, task="image-classification", labels=("a", "b")))
    return model


class Small(torch.nn.Module):
    """A classifier with one input by position, one by name, and two outputs."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.convolution = torch.nn.Conv2d(3, 4, 3, padding=1)
        self.head = torch.nn.Linear(4, 5)

    def forward(self, image, *, scale):
        return {"logits": self.head(torch.relu(self.convolution(image)).mean((2, 3))) * scale, "pooled": image.amax((1, 2, 3))}


@pytest.fixture(scope="session")
def archive(tmp_path_factory) -> Path:
    """The program of `Small`, with a dynamic batch and height."""
    path = tmp_path_factory.mktemp("program") / "small.pt2"
    batch, height = torch.export.Dim("batch"), torch.export.Dim("height")
    program = torch.export.export(
        Small().eval(),
        (torch.randn(2, 3, 8, 8),),
        {"scale": torch.randn(2, 5)},
        dynamic_shapes={"image": {0: batch, 2: height}, "scale": {0: batch}},
    )
    torch.export.save(program, path)
    return path
