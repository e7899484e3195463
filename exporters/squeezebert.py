"""SqueezeBERT (https://arxiv.org/abs/2006.11316): grouped convolutions in place of matrices."""

from edgeopt.export.family import Family
from edgeopt.export.text import text_encoder
from edgeopt.export.tiny import POSITIONS

FAMILY = Family(
    name="squeezebert",
    model_types=("squeezebert",),
    tasks=text_encoder(("input_ids", "attention_mask", "token_type_ids")),
    tiny={**POSITIONS, "embedding_size": 32},
)
