"""MPNet (https://arxiv.org/abs/2004.09297): a learned bias for each distance between tokens."""

from edgeopt.export.family import Family
from edgeopt.export.text import text_encoder

FAMILY = Family(
    name="mpnet",
    model_types=("mpnet",),
    tasks=text_encoder(("input_ids", "attention_mask")),
    tiny={
        "vocab_size": 100,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
    },
)
