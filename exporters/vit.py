"""Vision Transformer (https://arxiv.org/abs/2010.11929)."""

from edgeopt.export.family import Family
from edgeopt.export.tiny import PATCHES
from edgeopt.export.vision import vision_encoder

FAMILY = Family(
    name="vit",
    model_types=("vit",),
    tasks=vision_encoder(),
    tiny=PATCHES,
)
