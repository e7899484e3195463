"""RemBERT (https://arxiv.org/abs/2010.12821)."""

from edgeopt.export.family import Family
from edgeopt.export.text import text_encoder

FAMILY = Family(
    name="rembert",
    model_types=("rembert",),
    tasks=text_encoder(("input_ids", "attention_mask", "token_type_ids")),
    tiny={
        "vocab_size": 100,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
    },
)
