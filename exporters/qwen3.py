"""Qwen3 (https://arxiv.org/abs/2505.09388): norms on queries and keys."""

from edgeopt.export.decoder import decoder
from edgeopt.export.family import Family
from edgeopt.export.tiny import GROUPED

FAMILY = Family(
    name="qwen3",
    model_types=("qwen3",),
    tasks=decoder(),
    tiny={**GROUPED, "head_dim": 8},
)
