"""RegNet (https://arxiv.org/abs/2003.13678)."""

from edgeopt.export.family import Family
from edgeopt.export.vision import vision_encoder

FAMILY = Family(
    name="regnet",
    model_types=("regnet",),
    tasks=vision_encoder(),
    tiny={
        "image_size": 32,
        "embedding_size": 8,
        "hidden_sizes": [8, 16],
        "depths": [1, 1],
        "groups_width": 8,
    },
)
