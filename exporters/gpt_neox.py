"""GPT-NeoX (https://arxiv.org/abs/2204.06745), and Pythia, which shares its architecture."""

from edgeopt.export.decoder import decoder
from edgeopt.export.family import Family

FAMILY = Family(
    name="gpt_neox",
    model_types=("gpt_neox",),
    tasks=decoder(),
    tiny={
        "vocab_size": 100,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
    },
)
