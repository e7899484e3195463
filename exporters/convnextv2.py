"""ConvNeXt V2 (https://arxiv.org/abs/2301.00808)."""

from edgeopt.export.family import Family
from edgeopt.export.vision import vision_encoder

FAMILY = Family(
    name="convnextv2",
    model_types=("convnextv2",),
    tasks=vision_encoder(),
    tiny={
        "image_size": 32,
        "hidden_sizes": [8, 16],
        "depths": [1, 1],
        "num_stages": 2,
    },
)
