"""YOLOS (https://arxiv.org/abs/2106.00666): a ViT that detects objects."""

from edgeopt.export.family import Family
from edgeopt.export.vision import DETECTION

FAMILY = Family(
    name="yolos",
    model_types=("yolos",),
    tasks={"object-detection": DETECTION},
    tiny={
        "image_size": [32, 48],
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "patch_size": 8,
        "num_detection_tokens": 5,
    },
)
