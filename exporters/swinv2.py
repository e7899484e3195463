"""Swin Transformer V2 (https://arxiv.org/abs/2111.09883): cosine attention."""

from edgeopt.export.family import Family
from edgeopt.export.vision import vision_encoder

FAMILY = Family(
    name="swinv2",
    model_types=("swinv2",),
    tasks=vision_encoder(),
    tiny={
        "image_size": 32,
        "patch_size": 4,
        "embed_dim": 16,
        "depths": [1, 1],
        "num_heads": [2, 4],
        "window_size": 4,
    },
)
