"""MobileNet V2 (https://arxiv.org/abs/1801.04381)."""

from edgeopt.export.family import Family
from edgeopt.export.vision import vision_encoder

FAMILY = Family(
    name="mobilenet_v2",
    model_types=("mobilenet_v2",),
    tasks=vision_encoder(),
    tiny={
        "image_size": 32,
        "depth_multiplier": 0.25,
        "min_depth": 8,
    },
)
