"""GPT-NeoX (https://arxiv.org/abs/2204.06745), and Pythia, which shares its architecture."""

from edgeopt.export.decoder import decoder
from edgeopt.export.family import Family
from edgeopt.export.tiny import LAYERS

FAMILY = Family(
    name="gpt_neox",
    model_types=("gpt_neox",),
    tasks=decoder(),
    tiny=LAYERS,
)
