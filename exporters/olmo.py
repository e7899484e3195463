"""OLMo (https://arxiv.org/abs/2402.00838): norms without weights."""

from edgeopt.export.decoder import decoder
from edgeopt.export.family import Family
from edgeopt.export.tiny import GROUPED

FAMILY = Family(
    name="olmo",
    model_types=("olmo",),
    tasks=decoder(),
    tiny=GROUPED,
)
