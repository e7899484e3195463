"""CodeGen (https://arxiv.org/abs/2203.13474): GPT-J with queries, keys and values in one layer."""

from edgeopt.export.decoder import decoder
from edgeopt.export.family import Family

FAMILY = Family(
    name="codegen",
    model_types=("codegen",),
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
