"""MobileNet V1 (https://arxiv.org/abs/1704.04861)."""

from edgeopt.export.family import Family
from edgeopt.export.vision import vision_encoder

FAMILY = Family(
    name="mobilenet_v1",
    model_types=("mobilenet_v1",),
    tasks=vision_encoder(),
    tiny={
        "image_size": 32,
        "depth_multiplier": 0.25,
        "min_depth": 8,
    },
)
