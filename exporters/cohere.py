"""Command R (Cohere): attention and feed-forward side by side."""

from edgeopt.export.decoder import decoder
from edgeopt.export.family import Family

FAMILY = Family(
    name="cohere",
    model_types=("cohere", "cohere2"),
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
