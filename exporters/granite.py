"""Granite (https://arxiv.org/abs/2405.04324): Llama with multipliers."""

from edgeopt.export.decoder import decoder
from edgeopt.export.family import Family
from edgeopt.export.tiny import GROUPED

FAMILY = Family(
    name="granite",
    model_types=("granite",),
    tasks=decoder(),
    tiny=GROUPED,
)
