"""MPNet (https://arxiv.org/abs/2004.09297): a learned bias for each distance between tokens."""

from edgeopt.export.family import Family
from edgeopt.export.text import text_encoder
from edgeopt.export.tiny import LAYERS

FAMILY = Family(
    name="mpnet",
    model_types=("mpnet",),
    tasks=text_encoder(("input_ids", "attention_mask")),
    tiny=LAYERS,
)
