"""Hunyuan, the dense ones."""

from edgeopt.export.decoder import decoder
from edgeopt.export.family import Family
from edgeopt.export.tiny import GROUPED

FAMILY = Family(
    name="hunyuan",
    model_types=("hunyuan_v1_dense",),
    tasks=decoder(),
    tiny={**GROUPED, "head_dim": 8},
)
