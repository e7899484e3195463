"""XLM-R XL (https://arxiv.org/abs/2105.00572): norms before each part."""

from edgeopt.export.family import Family
from edgeopt.export.text import text_encoder
from edgeopt.export.tiny import POSITIONS

FAMILY = Family(
    name="xlm_roberta_xl",
    model_types=("xlm-roberta-xl",),
    tasks=text_encoder(("input_ids", "attention_mask")),
    tiny=POSITIONS,
)
