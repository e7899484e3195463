"""Phi-3 (https://arxiv.org/abs/2404.14219), and Phi-4 mini, which shares its architecture."""

from edgeopt.export.decoder import decoder
from edgeopt.export.family import Family

FAMILY = Family(
    name="phi3",
    model_types=("phi3",),
    tasks=decoder(),
    tiny={
        "vocab_size": 100,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "num_key_value_heads": 2,
        "pad_token_id": 0,
    },
)
