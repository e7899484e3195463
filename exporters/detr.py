"""DETR (https://arxiv.org/abs/2005.12872): detection as a set, on the features of a ResNet."""

from edgeopt.export.family import Family
from edgeopt.export.vision import DETECTION

FAMILY = Family(
    name="detr",
    model_types=("detr",),
    tasks={"object-detection": DETECTION},
    tiny={
        "image_size": 64,
        "d_model": 32,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
        "num_queries": 5,
        "use_timm_backbone": False,
        "backbone": None,
        "backbone_config": {
            "model_type": "resnet",
            "embedding_size": 8,
            "hidden_sizes": [8, 16],
            "depths": [1, 1],
            "layer_type": "basic",
            "out_features": ["stage2"],
        },
    },
)
