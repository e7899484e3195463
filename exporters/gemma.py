"""Gemma (https://arxiv.org/abs/2403.08295)."""

from edgeopt.export.decoder import decoder
from edgeopt.export.family import Family
from edgeopt.export.tiny import GROUPED

FAMILY = Family(
    name="gemma",
    model_types=("gemma",),
    tasks=decoder(),
    tiny={**GROUPED, "head_dim": 8},
)
