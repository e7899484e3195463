"""Gemma 2 (https://arxiv.org/abs/2408.00118): every other layer sees a window; scores are capped."""

from edgeopt.export.decoder import decoder
from edgeopt.export.family import Family

FAMILY = Family(
    name="gemma2",
    model_types=("gemma2",),
    tasks=decoder(),
    tiny={
        "vocab_size": 100,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "sliding_window": 4,
    },
)
