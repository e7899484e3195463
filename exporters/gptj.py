"""GPT-J: rotary positions on a part of each head, pairs side by side."""

from edgeopt.export.decoder import decoder
from edgeopt.export.family import Family
from edgeopt.export.tiny import GPT

FAMILY = Family(
    name="gptj",
    model_types=("gptj",),
    tasks=decoder(),
    tiny={**GPT, "rotary_dim": 4},
)
