"""SmolLM3: rotary positions in three of four layers."""

from edgeopt.export.decoder import decoder
from edgeopt.export.family import Family
from edgeopt.export.tiny import GROUPED

FAMILY = Family(
    name="smollm3",
    model_types=("smollm3",),
    tasks=decoder(),
    tiny={**GROUPED, "pad_token_id": 0},
)
