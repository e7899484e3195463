"""Swin (https://arxiv.org/abs/2103.14030): attention inside shifted windows."""

from edgeopt.export.family import Family
from edgeopt.export.vision import vision_encoder

FAMILY = Family(
    name="swin",
    model_types=("swin",),
    tasks=vision_encoder(),
    tiny={
        "image_size": 32,
        "patch_size": 2,
        "embed_dim": 16,
        "depths": [2, 2],
        "num_heads": [2, 4],
        "window_size": 4,
    },
)
