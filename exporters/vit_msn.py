"""Masked Siamese Networks (https://arxiv.org/abs/2204.07141): a Vision Transformer."""

from edgeopt.export.family import Family
from edgeopt.export.vision import vision_encoder

FAMILY = Family(
    name="vit_msn",
    model_types=("vit_msn",),
    tasks=vision_encoder(),
    tiny={
        "image_size": 32,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "patch_size": 8,
    },
)
