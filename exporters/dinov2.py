"""DINOv2 (https://arxiv.org/abs/2304.07193): features without labels."""

from edgeopt.export.family import Family
from edgeopt.export.vision import vision_encoder

FAMILY = Family(
    name="dinov2",
    model_types=("dinov2",),
    tasks=vision_encoder(),
    tiny={
        "image_size": 32,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "patch_size": 8,
    },
)
