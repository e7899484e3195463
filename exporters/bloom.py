"""BLOOM (https://arxiv.org/abs/2211.05100): positions as a bias of the scores (ALiBi)."""

from edgeopt.export.decoder import decoder
from edgeopt.export.family import Family

FAMILY = Family(
    name="bloom",
    model_types=("bloom",),
    tasks=decoder(),
    tiny={
        "vocab_size": 100,
        "hidden_size": 32,
        "n_layer": 2,
        "n_head": 4,
    },
)
