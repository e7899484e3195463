"""BEiT (https://arxiv.org/abs/2106.08254): a ViT with relative position biases."""

from edgeopt.export.family import Family
from edgeopt.export.vision import vision_encoder

FAMILY = Family(
    name="beit",
    model_types=("beit",),
    tasks=vision_encoder(),
    tiny={
        "image_size": 32,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "patch_size": 8,
        "use_relative_position_bias": True,
    },
)
