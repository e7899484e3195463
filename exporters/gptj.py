"""GPT-J: rotary positions on a part of each head, pairs side by side."""

from edgeopt.export.decoder import decoder
from edgeopt.export.family import Family

FAMILY = Family(
    name="gptj",
    model_types=("gptj",),
    tasks=decoder(),
    tiny={
        "vocab_size": 100,
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 4,
        "n_positions": 64,
        "rotary_dim": 4,
    },
)
