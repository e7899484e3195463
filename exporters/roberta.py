"""RoBERTa (https://arxiv.org/abs/1907.11692): positions are counted from the padding token on."""

from edgeopt.export.family import Family
from edgeopt.export.text import text_encoder
from edgeopt.export.tiny import POSITIONS

FAMILY = Family(
    name="roberta",
    model_types=("roberta", "camembert"),
    tasks=text_encoder(("input_ids", "attention_mask")),
    tiny=POSITIONS,
)
