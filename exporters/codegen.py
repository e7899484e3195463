"""CodeGen (https://arxiv.org/abs/2203.13474): GPT-J with queries, keys and values in one layer."""

from edgeopt.export.decoder import decoder
from edgeopt.export.family import Family
from edgeopt.export.tiny import GPT

FAMILY = Family(
    name="codegen",
    model_types=("codegen",),
    tasks=decoder(),
    tiny={**GPT, "rotary_dim": 4},
)
