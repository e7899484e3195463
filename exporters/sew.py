"""SEW (https://arxiv.org/abs/2109.06870): the sequence is shortened between the layers."""

from edgeopt.export.audio import audio_encoder
from edgeopt.export.family import Family

FAMILY = Family(
    name="sew",
    model_types=("sew",),
    tasks=audio_encoder(),
    tiny={
        "vocab_size": 32,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "conv_dim": [16, 16],
        "conv_stride": [5, 4],
        "conv_kernel": [10, 8],
        "num_feat_extract_layers": 2,
        "num_conv_pos_embeddings": 8,
        "num_conv_pos_embedding_groups": 2,
    },
)
