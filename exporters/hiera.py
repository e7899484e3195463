"""Hiera (https://arxiv.org/abs/2306.00989)."""

from edgeopt.export.family import Family
from edgeopt.export.vision import vision_encoder

FAMILY = Family(
    name="hiera",
    model_types=("hiera",),
    tasks=vision_encoder(),
    tiny={
        "image_size": [64, 64],
        "embed_dim": 16,
        "depths": [1, 1, 1, 1],
        "num_heads": [1, 2, 4, 8],
    },
)
