"""BEiT (https://arxiv.org/abs/2106.08254): a ViT with relative position biases."""

from edgeopt.export.family import Family
from edgeopt.export.tiny import PATCHES
from edgeopt.export.vision import vision_encoder

FAMILY = Family(
    name="beit",
    model_types=("beit",),
    tasks=vision_encoder(),
    tiny={**PATCHES, "use_relative_position_bias": True},
)
