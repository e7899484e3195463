"""FocalNet (https://arxiv.org/abs/2203.11926): modulation in place of attention."""

from edgeopt.export.family import Family
from edgeopt.export.vision import vision_encoder

FAMILY = Family(
    name="focalnet",
    model_types=("focalnet",),
    tasks=vision_encoder(),
    tiny={
        "image_size": 64,
        "embed_dim": 16,
        "depths": [1, 1, 1, 1],
        "hidden_sizes": [16, 32, 64, 128],
    },
)
