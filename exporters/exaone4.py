"""EXAONE 4.0 (https://arxiv.org/abs/2507.11407): most layers see a window."""

from edgeopt.export.decoder import decoder
from edgeopt.export.family import Family
from edgeopt.export.tiny import GROUPED

FAMILY = Family(
    name="exaone4",
    model_types=("exaone4",),
    tasks=decoder(),
    tiny={**GROUPED, "sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"]},
)
