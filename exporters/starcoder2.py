"""StarCoder2 (https://arxiv.org/abs/2402.19173)."""

from edgeopt.export.decoder import decoder
from edgeopt.export.family import Family
from edgeopt.export.tiny import GROUPED

FAMILY = Family(
    name="starcoder2",
    model_types=("starcoder2",),
    tasks=decoder(),
    tiny={**GROUPED, "sliding_window": 4},
)
