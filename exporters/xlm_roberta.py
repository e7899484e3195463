"""XLM-RoBERTa (https://arxiv.org/abs/1911.02116), one encoder for a hundred languages."""

from edgeopt.export.family import Family
from edgeopt.export.text import text_encoder

FAMILY = Family(
    name="xlm_roberta",
    model_types=("xlm-roberta",),
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
