"""RT-DETR (https://arxiv.org/abs/2304.08069): detection in real time, with deformable attention."""

from edgeopt.export.family import Family
from edgeopt.export.vision import DETECTION

FAMILY = Family(
    name="rt_detr",
    model_types=("rt_detr",),
    tasks={"object-detection": DETECTION},
    tiny={
        "image_size": 64,
        "d_model": 32,
        "encoder_hidden_dim": 32,
        "encoder_in_channels": [16, 24, 32],
        "decoder_in_channels": [32, 32, 32],
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
        "num_queries": 5,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "num_denoising": 0,
        "hidden_expansion": 0.5,
        "backbone": None,
        "use_timm_backbone": False,
        "backbone_config": {
            "model_type": "rt_detr_resnet",
            "embedding_size": 8,
            "hidden_sizes": [8, 16, 24, 32],
            "depths": [1, 1, 1, 1],
            "layer_type": "basic",
            "out_features": ["stage2", "stage3", "stage4"],
        },
    },
    note="its code fixes the batch while tracing; with a fixed shape, TopK breaks ties between equal anchors in another order",
)
