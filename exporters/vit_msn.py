"""Masked Siamese Networks (https://arxiv.org/abs/2204.07141): a Vision Transformer."""

from edgeopt.export.family import Family
from edgeopt.export.tiny import PATCHES
from edgeopt.export.vision import vision_encoder

FAMILY = Family(
    name="vit_msn",
    model_types=("vit_msn",),
    tasks=vision_encoder(),
    tiny=PATCHES,
)
