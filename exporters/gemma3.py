"""Gemma 3 for text (https://arxiv.org/abs/2503.19786): most layers see a window, with rotary positions of their own."""

from edgeopt.export.decoder import decoder
from edgeopt.export.family import Family
from edgeopt.export.tiny import GROUPED

FAMILY = Family(
    name="gemma3",
    model_types=("gemma3_text",),
    tasks=decoder(),
    tiny={**GROUPED, "head_dim": 8, "sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"]},
)
