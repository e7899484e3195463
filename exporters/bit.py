"""Big Transfer (https://arxiv.org/abs/1912.11370): a ResNet with group norms and standardised weights."""

from edgeopt.export.family import Family
from edgeopt.export.vision import vision_encoder

FAMILY = Family(
    name="bit",
    model_types=("bit",),
    tasks=vision_encoder(),
    tiny={
        "embedding_size": 16,
        "hidden_sizes": [32, 32, 32, 32],
        "depths": [1, 1, 1, 1],
        "num_groups": 4,
    },
)
