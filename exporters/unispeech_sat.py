"""UniSpeech-SAT (https://arxiv.org/abs/2110.05752)."""

from edgeopt.export.audio import audio_encoder
from edgeopt.export.family import Family
from edgeopt.export.tiny import SPEECH

FAMILY = Family(
    name="unispeech_sat",
    model_types=("unispeech-sat",),
    tasks=audio_encoder(),
    tiny=SPEECH,
)
