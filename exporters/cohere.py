"""Command R (Cohere): attention and feed-forward side by side."""

from edgeopt.export.decoder import decoder
from edgeopt.export.family import Family
from edgeopt.export.tiny import GROUPED

FAMILY = Family(
    name="cohere",
    model_types=("cohere", "cohere2"),
    tasks=decoder(),
    tiny={**GROUPED, "pad_token_id": 0},
)
