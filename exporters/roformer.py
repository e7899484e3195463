"""RoFormer (https://arxiv.org/abs/2104.09864): rotary positions."""

from edgeopt.export.family import Family
from edgeopt.export.text import text_encoder
from edgeopt.export.tiny import POSITIONS

FAMILY = Family(
    name="roformer",
    model_types=("roformer",),
    tasks=text_encoder(("input_ids", "attention_mask", "token_type_ids")),
    tiny=POSITIONS,
)
