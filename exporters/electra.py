"""ELECTRA (https://arxiv.org/abs/2003.10555)."""

from edgeopt.export.family import Family
from edgeopt.export.text import text_encoder
from edgeopt.export.tiny import LAYERS

FAMILY = Family(
    name="electra",
    model_types=("electra",),
    tasks=text_encoder(("input_ids", "attention_mask", "token_type_ids")),
    tiny={**LAYERS, "embedding_size": 16},
)
