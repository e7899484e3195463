"""CLIP (https://arxiv.org/abs/2103.00020)."""

from edgeopt.export.family import Family
from edgeopt.export.towers import two_towers

FAMILY = Family(
    name="clip",
    model_types=("clip",),
    tasks=two_towers("CLIPModel", masked=True),
    tiny={
        "text_config": {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 64,
            "projection_dim": 16,
            "vocab_size": 100,
            "max_position_embeddings": 16,
            "eos_token_id": 99,
        },
        "vision_config": {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 64,
            "projection_dim": 16,
            "image_size": 32,
            "patch_size": 8,
        },
        "projection_dim": 16,
    },
)
