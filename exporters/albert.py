"""ALBERT (https://arxiv.org/abs/1909.11942): one layer whose weights all layers share."""

from edgeopt.export.family import Family
from edgeopt.export.text import text_encoder
from edgeopt.export.tiny import LAYERS

FAMILY = Family(
    name="albert",
    model_types=("albert",),
    tasks=text_encoder(("input_ids", "attention_mask", "token_type_ids")),
    tiny={**LAYERS, "embedding_size": 16},
)
