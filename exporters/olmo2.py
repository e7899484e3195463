"""OLMo 2 (https://arxiv.org/abs/2501.00656) and OLMo 3: norms behind attention and feed-forward."""

from edgeopt.export.decoder import decoder
from edgeopt.export.family import Family
from edgeopt.export.tiny import GROUPED

FAMILY = Family(
    name="olmo2",
    model_types=("olmo2", "olmo3"),
    tasks=decoder(),
    tiny={**GROUPED, "pad_token_id": 0},
)
