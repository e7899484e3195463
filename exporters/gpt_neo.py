"""GPT-Neo: every other layer sees a window."""

from edgeopt.export.decoder import decoder
from edgeopt.export.family import Family

FAMILY = Family(
    name="gpt_neo",
    model_types=("gpt_neo",),
    tasks=decoder(),
    tiny={
        "vocab_size": 100,
        "hidden_size": 32,
        "num_layers": 2,
        "num_heads": 4,
        "attention_types": [[["global", "local"], 1]],
        "window_size": 4,
        "max_position_embeddings": 64,
    },
)
