"""Qwen2 (https://arxiv.org/abs/2407.10671)."""

from edgeopt.export.decoder import decoder
from edgeopt.export.family import Family
from edgeopt.export.tiny import GROUPED

FAMILY = Family(
    name="qwen2",
    model_types=("qwen2",),
    tasks=decoder(),
    tiny=GROUPED,
)
