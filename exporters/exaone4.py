"""EXAONE 4.0 (https://arxiv.org/abs/2507.11407): most layers see a window."""

from edgeopt.export.decoder import decoder
from edgeopt.export.family import Family

FAMILY = Family(
    name="exaone4",
    model_types=("exaone4",),
    tasks=decoder(),
    tiny={
        "vocab_size": 100,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "num_key_value_heads": 2,
        "sliding_window": 4,
        "layer_types": ["sliding_attention", "full_attention"],
    },
)
