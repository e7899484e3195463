"""DeiT (https://arxiv.org/abs/2012.12877): a ViT with a distillation token."""

from edgeopt.export.family import Family
from edgeopt.export.tiny import PATCHES
from edgeopt.export.vision import vision_encoder

FAMILY = Family(
    name="deit",
    model_types=("deit",),
    tasks=vision_encoder(),
    tiny=PATCHES,
)
