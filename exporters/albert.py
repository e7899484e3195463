"""ALBERT (https://arxiv.org/abs/1909.11942): one layer whose weights all layers share."""

from edgeopt.export.family import Family
from edgeopt.export.text import text_encoder

FAMILY = Family(
    name="albert",
    model_types=("albert",),
    tasks=text_encoder(("input_ids", "attention_mask", "token_type_ids")),
    tiny={
        "vocab_size": 100,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "embedding_size": 16,
    },
)
