"""DeBERTa (https://arxiv.org/abs/2006.03654)."""

from edgeopt.export.family import Family
from edgeopt.export.text import text_encoder
from edgeopt.export.tiny import POSITIONS

FAMILY = Family(
    name="deberta",
    model_types=("deberta",),
    tasks=text_encoder(("input_ids", "attention_mask", "token_type_ids")),
    tiny=POSITIONS,
)
