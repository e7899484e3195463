"""GLM-4 and ChatGLM's successors (https://arxiv.org/abs/2406.12793): rotary positions on every second pair of half a head."""

from edgeopt.export.decoder import decoder
from edgeopt.export.family import Family

FAMILY = Family(
    name="glm",
    model_types=("glm", "glm4"),
    tasks=decoder(),
    tiny={
        "vocab_size": 100,
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "pad_token_id": 0,
    },
)
