"""Stable LM 2 (https://arxiv.org/abs/2402.17834): rotary positions on a part of each head."""

from edgeopt.export.decoder import decoder
from edgeopt.export.family import Family
from edgeopt.export.tiny import GROUPED

FAMILY = Family(
    name="stablelm",
    model_types=("stablelm",),
    tasks=decoder(),
    tiny=GROUPED,
)
