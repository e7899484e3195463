"""SwiftFormer (https://arxiv.org/abs/2303.15446): additive attention."""

from edgeopt.export.family import Family
from edgeopt.export.vision import vision_encoder

FAMILY = Family(
    name="swiftformer",
    model_types=("swiftformer",),
    tasks=vision_encoder(),
    tiny={
        "embed_dims": [16, 16, 32, 32],
        "depths": [1, 1, 1, 1],
    },
)
