"""Arcee AFM: Llama with squared ReLU."""

from edgeopt.export.decoder import decoder
from edgeopt.export.family import Family
from edgeopt.export.tiny import GROUPED

FAMILY = Family(
    name="arcee",
    model_types=("arcee",),
    tasks=decoder(),
    tiny=GROUPED,
)
