"""BERT (https://arxiv.org/abs/1810.04805) and what shares its architecture: MiniLM, TinyBERT, many sentence encoders."""

from edgeopt.export.family import Family
from edgeopt.export.text import text_encoder
from edgeopt.export.tiny import LAYERS

FAMILY = Family(
    name="bert",
    model_types=("bert",),
    tasks=text_encoder(("input_ids", "attention_mask", "token_type_ids")),
    tiny=LAYERS,
)
