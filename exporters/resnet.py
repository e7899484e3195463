"""ResNet (https://arxiv.org/abs/1512.03385)."""

from edgeopt.export.family import Family
from edgeopt.export.vision import vision_encoder

FAMILY = Family(
    name="resnet",
    model_types=("resnet",),
    tasks=vision_encoder(),
    tiny={
        "image_size": 32,
        "embedding_size": 8,
        "hidden_sizes": [8, 16],
        "depths": [1, 1],
        "layer_type": "basic",
    },
)
