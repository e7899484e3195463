"""ConvBERT (https://arxiv.org/abs/2008.02496): half of the heads are convolutions whose weights come from the text."""

from edgeopt.export.family import Family
from edgeopt.export.text import text_encoder
from edgeopt.export.tiny import POSITIONS

FAMILY = Family(
    name="convbert",
    model_types=("convbert",),
    tasks=text_encoder(("input_ids", "attention_mask", "token_type_ids")),
    tiny=POSITIONS,
)
