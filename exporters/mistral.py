"""Mistral (https://arxiv.org/abs/2310.06825)."""

from edgeopt.export.decoder import decoder
from edgeopt.export.family import Family
from edgeopt.export.tiny import GROUPED

FAMILY = Family(
    name="mistral",
    model_types=("mistral",),
    tasks=decoder(),
    tiny={**GROUPED, "head_dim": 8, "sliding_window": None},
)
