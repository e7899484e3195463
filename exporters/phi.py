"""Phi (https://arxiv.org/abs/2309.05463): rotary positions on a part of each head."""

from edgeopt.export.decoder import decoder
from edgeopt.export.family import Family
from edgeopt.export.tiny import LAYERS

FAMILY = Family(
    name="phi",
    model_types=("phi",),
    tasks=decoder(),
    tiny=LAYERS,
)
