"""ERNIE (https://arxiv.org/abs/1904.09223)."""

from edgeopt.export.family import Family
from edgeopt.export.text import text_encoder
from edgeopt.export.tiny import POSITIONS

FAMILY = Family(
    name="ernie",
    model_types=("ernie",),
    tasks=text_encoder(("input_ids", "attention_mask", "token_type_ids")),
    tiny=POSITIONS,
)
