"""DeBERTa v2 and v3 (https://arxiv.org/abs/2006.03654): attention over contents and relative positions apart."""

from edgeopt.export.family import Family
from edgeopt.export.text import text_encoder
from edgeopt.export.tiny import LAYERS

FAMILY = Family(
    name="deberta_v2",
    model_types=("deberta-v2",),
    tasks=text_encoder(("input_ids", "attention_mask", "token_type_ids")),
    tiny={**LAYERS, "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 16},
)
