"""RemBERT (https://arxiv.org/abs/2010.12821)."""

from edgeopt.export.family import Family
from edgeopt.export.text import text_encoder
from edgeopt.export.tiny import POSITIONS

FAMILY = Family(
    name="rembert",
    model_types=("rembert",),
    tasks=text_encoder(("input_ids", "attention_mask", "token_type_ids")),
    tiny=POSITIONS,
)
