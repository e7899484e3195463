"""DeiT (https://arxiv.org/abs/2012.12877): a ViT with a distillation token."""

from edgeopt.export.family import Family
from edgeopt.export.vision import vision_encoder

FAMILY = Family(
    name="deit",
    model_types=("deit",),
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
