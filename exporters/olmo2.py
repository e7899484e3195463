"""OLMo 2 (https://arxiv.org/abs/2501.00656) and OLMo 3: norms behind attention and feed-forward."""

from edgeopt.export.decoder import decoder
from edgeopt.export.family import Family

FAMILY = Family(
    name="olmo2",
    model_types=("olmo2", "olmo3"),
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
