"""DINOv2 with registers (https://arxiv.org/abs/2309.16588)."""

from edgeopt.export.family import Family
from edgeopt.export.tiny import PATCHES
from edgeopt.export.vision import vision_encoder

FAMILY = Family(
    name="dinov2_with_registers",
    model_types=("dinov2_with_registers",),
    tasks=vision_encoder(),
    tiny=PATCHES,
)
