"""XLM-RoBERTa (https://arxiv.org/abs/1911.02116), one encoder for a hundred languages."""

from edgeopt.export.family import Family
from edgeopt.export.text import text_encoder
from edgeopt.export.tiny import POSITIONS

FAMILY = Family(
    name="xlm_roberta",
    model_types=("xlm-roberta",),
    tasks=text_encoder(("input_ids", "attention_mask")),
    tiny=POSITIONS,
)
