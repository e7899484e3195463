"""SigLIP (https://arxiv.org/abs/2303.15343): CLIP with a sigmoid loss, and no mask on its texts."""

from edgeopt.export.family import Family
from edgeopt.export.towers import two_towers

FAMILY = Family(
    name="siglip",
    model_types=("siglip",),
    tasks=two_towers("SiglipModel", masked=False),
    tiny={
        "text_config": {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 64,
            "vocab_size": 100,
            "max_position_embeddings": 16,
            "projection_size": 32,
        },
        "vision_config": {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 64,
            "image_size": 32,
            "patch_size": 8,
        },
    },
)
