"""Pyramid Vision Transformer v2 (https://arxiv.org/abs/2106.13797)."""

from edgeopt.export.family import Family
from edgeopt.export.vision import vision_encoder

FAMILY = Family(
    name="pvt_v2",
    model_types=("pvt_v2",),
    tasks=vision_encoder(),
    tiny={
        "image_size": 64,
        "hidden_sizes": [16, 32, 48, 64],
        "depths": [1, 1, 1, 1],
        "num_attention_heads": [1, 2, 2, 4],
    },
)
