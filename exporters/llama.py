"""Llama (https://arxiv.org/abs/2302.13971), and SmolLM, which shares its architecture."""

from edgeopt.export.decoder import decoder
from edgeopt.export.family import Family
from edgeopt.export.tiny import GROUPED

FAMILY = Family(
    name="llama",
    model_types=("llama",),
    tasks=decoder(),
    tiny=GROUPED,
)
