"""WavLM (https://arxiv.org/abs/2110.13900): gated relative positions."""

from edgeopt.export.audio import audio_encoder
from edgeopt.export.family import Family

FAMILY = Family(
    name="wavlm",
    model_types=("wavlm",),
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
