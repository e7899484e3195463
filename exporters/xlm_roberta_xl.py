"""XLM-R XL (https://arxiv.org/abs/2105.00572): norms before each part."""

from edgeopt.export.family import Family
from edgeopt.export.text import text_encoder

FAMILY = Family(
    name="xlm_roberta_xl",
    model_types=("xlm-roberta-xl",),
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
