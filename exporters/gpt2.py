"""GPT-2."""

from edgeopt.export.decoder import decoder
from edgeopt.export.family import Family
from edgeopt.export.tiny import GPT

FAMILY = Family(
    name="gpt2",
    model_types=("gpt2",),
    tasks=decoder(),
    tiny=GPT,
)
