"""Qwen3 (https://arxiv.org/abs/2505.09388): norms on queries and keys."""

from edgeopt.export.decoder import decoder
from edgeopt.export.family import Family

FAMILY = Family(
    name="qwen3",
    model_types=("qwen3",),
    tasks=decoder(),
    tiny={
        "vocab_size": 100,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "num_key_value_heads": 2,
        "head_dim": 8,
    },
)
