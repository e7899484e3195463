"""DistilBERT (https://arxiv.org/abs/1910.01108): BERT with half the layers and no segments."""

from edgeopt.export.family import Family
from edgeopt.export.text import text_encoder

FAMILY = Family(
    name="distilbert",
    model_types=("distilbert",),
    tasks=text_encoder(("input_ids", "attention_mask")),
    tiny={
        "vocab_size": 100,
        "dim": 32,
        "n_layers": 2,
        "n_heads": 4,
        "hidden_dim": 64,
    },
)
