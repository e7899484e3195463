"""Gemma 2 (https://arxiv.org/abs/2408.00118): every other layer sees a window; scores are capped."""

from edgeopt.export.decoder import decoder
from edgeopt.export.family import Family
from edgeopt.export.tiny import GROUPED

FAMILY = Family(
    name="gemma2",
    model_types=("gemma2",),
    tasks=decoder(),
    tiny={**GROUPED, "head_dim": 8, "sliding_window": 4},
)
