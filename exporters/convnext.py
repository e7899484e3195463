"""ConvNeXt (https://arxiv.org/abs/2201.03545)."""

from edgeopt.export.family import Family
from edgeopt.export.vision import vision_encoder

FAMILY = Family(
    name="convnext",
    model_types=("convnext",),
    tasks=vision_encoder(),
    tiny={
        "image_size": 32,
        "hidden_sizes": [8, 16],
        "depths": [1, 1],
        "num_stages": 2,
    },
)
