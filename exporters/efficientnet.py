"""EfficientNet (https://arxiv.org/abs/1905.11946)."""

from edgeopt.export.family import Family
from edgeopt.export.vision import vision_encoder

FAMILY = Family(
    name="efficientnet",
    model_types=("efficientnet",),
    tasks=vision_encoder(),
    tiny={
        "image_size": 32,
        "width_coefficient": 0.25,
        "depth_coefficient": 0.25,
        "hidden_dim": 320,
    },
)
