"""Phi-3 (https://arxiv.org/abs/2404.14219), and Phi-4 mini, which shares its architecture."""

from edgeopt.export.decoder import decoder
from edgeopt.export.family import Family
from edgeopt.export.tiny import GROUPED

FAMILY = Family(
    name="phi3",
    model_types=("phi3",),
    tasks=decoder(),
    tiny={**GROUPED, "pad_token_id": 0},
)
