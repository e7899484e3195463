"""LeViT (https://arxiv.org/abs/2104.01136)."""

from edgeopt.export.family import Family
from edgeopt.export.vision import vision_encoder

FAMILY = Family(
    name="levit",
    model_types=("levit",),
    tasks=vision_encoder(),
    tiny={
        "image_size": 64,
        "hidden_sizes": [16, 32, 48],
        "num_attention_heads": [2, 2, 2],
        "depths": [1, 1, 1],
        "key_dim": [8, 8, 8],
    },
)
