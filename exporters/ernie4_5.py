"""ERNIE 4.5, the dense ones."""

from edgeopt.export.decoder import decoder
from edgeopt.export.family import Family
from edgeopt.export.tiny import GROUPED

FAMILY = Family(
    name="ernie4_5",
    model_types=("ernie4_5",),
    tasks=decoder(),
    tiny=GROUPED,
)
