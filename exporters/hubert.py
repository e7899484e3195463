"""HuBERT (https://arxiv.org/abs/2106.07447)."""

from edgeopt.export.audio import audio_encoder
from edgeopt.export.family import Family
from edgeopt.export.tiny import SPEECH

FAMILY = Family(
    name="hubert",
    model_types=("hubert",),
    tasks=audio_encoder(),
    tiny=SPEECH,
)
