"""MobileBERT (https://arxiv.org/abs/2004.02984): bottlenecks around every layer."""

from edgeopt.export.family import Family
from edgeopt.export.text import text_encoder
from edgeopt.export.tiny import POSITIONS

FAMILY = Family(
    name="mobilebert",
    model_types=("mobilebert",),
    tasks=text_encoder(("input_ids", "attention_mask", "token_type_ids")),
    tiny={**POSITIONS, "embedding_size": 16, "true_hidden_size": 16, "intra_bottleneck_size": 16},
)
