"""PoolFormer (https://arxiv.org/abs/2111.11418): pooling in place of attention."""

from edgeopt.export.family import Family
from edgeopt.export.vision import vision_encoder

FAMILY = Family(
    name="poolformer",
    model_types=("poolformer",),
    tasks=vision_encoder(),
    tiny={
        "hidden_sizes": [16, 32, 48, 64],
        "depths": [1, 1, 1, 1],
    },
)
