"""Seed-OSS (ByteDance)."""

from edgeopt.export.decoder import decoder
from edgeopt.export.family import Family
from edgeopt.export.tiny import GROUPED

FAMILY = Family(
    name="seed_oss",
    model_types=("seed_oss",),
    tasks=decoder(),
    tiny={**GROUPED, "head_dim": 8},
)
