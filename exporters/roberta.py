"""RoBERTa (https://arxiv.org/abs/1907.11692): positions are counted from the padding token on."""

from edgeopt.export.family import Family
from edgeopt.export.text import text_encoder

FAMILY = Family(
    name="roberta",
    model_types=("roberta", "camembert"),
    tasks=text_encoder(("input_ids", "attention_mask")),
    tiny={
        "vocab_size": 100,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
    },
)
