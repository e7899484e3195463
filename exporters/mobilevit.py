"""MobileViT (https://arxiv.org/abs/2110.02178): convolutions, and attention among the pixels of patches."""

from edgeopt.export.family import Family
from edgeopt.export.vision import vision_encoder

FAMILY = Family(
    name="mobilevit",
    model_types=("mobilevit",),
    tasks=vision_encoder(),
    tiny={
        "image_size": 64,
        "hidden_sizes": [16, 24, 32],
        "neck_hidden_sizes": [8, 8, 16, 16, 24, 32, 64],
        "num_attention_heads": 2,
    },
)
