"""Depth Anything (https://arxiv.org/abs/2401.10891): depth from one image, on the features of DINOv2."""

from edgeopt.export.family import Family
from edgeopt.export.vision import DEPTH

FAMILY = Family(
    name="depth_anything",
    model_types=("depth_anything",),
    tasks={"depth-estimation": DEPTH},
    tiny={
        "image_size": 56,
        "patch_size": 14,
        "backbone": None,
        "backbone_config": {
            "model_type": "dinov2",
            "image_size": 56,
            "hidden_size": 32,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "patch_size": 14,
            "out_indices": [1, 2, 3, 4],
            "reshape_hidden_states": False,
        },
        "reassemble_hidden_size": 32,
        "neck_hidden_sizes": [8, 8, 16, 16],
        "fusion_hidden_size": 8,
        "head_hidden_size": 8,
    },
)
