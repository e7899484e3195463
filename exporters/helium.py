"""Helium (Kyutai)."""

from edgeopt.export.decoder import decoder
from edgeopt.export.family import Family
from edgeopt.export.tiny import GROUPED

FAMILY = Family(
    name="helium",
    model_types=("helium",),
    tasks=decoder(),
    tiny={**GROUPED, "head_dim": 8},
)
