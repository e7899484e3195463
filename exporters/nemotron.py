"""Nemotron-4 (https://arxiv.org/abs/2402.16819): squared ReLU, rotary positions on a part of each head."""

from edgeopt.export.decoder import decoder
from edgeopt.export.family import Family
from edgeopt.export.tiny import GROUPED

FAMILY = Family(
    name="nemotron",
    model_types=("nemotron",),
    tasks=decoder(),
    tiny=GROUPED,
)
