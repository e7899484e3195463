"""SegFormer (https://arxiv.org/abs/2105.15203): segmentation and classification."""

from edgeopt.export.family import Family
from edgeopt.export.vision import CLASSIFICATION, SEGMENTATION

FAMILY = Family(
    name="segformer",
    model_types=("segformer",),
    tasks={"semantic-segmentation": SEGMENTATION, "image-classification": CLASSIFICATION},
    tiny={
        "image_size": 64,
        "hidden_sizes": [8, 16, 16, 32],
        "depths": [1, 1, 1, 1],
        "num_attention_heads": [1, 2, 2, 4],
        "decoder_hidden_size": 16,
    },
)
