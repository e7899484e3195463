"""DINOv2 with registers (https://arxiv.org/abs/2309.16588)."""

from edgeopt.export.family import Family
from edgeopt.export.vision import vision_encoder

FAMILY = Family(
    name="dinov2_with_registers",
    model_types=("dinov2_with_registers",),
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
