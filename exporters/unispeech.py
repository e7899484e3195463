"""UniSpeech (https://arxiv.org/abs/2101.07597)."""

from edgeopt.export.audio import audio_encoder
from edgeopt.export.family import Family
from edgeopt.export.tiny import SPEECH

FAMILY = Family(
    name="unispeech",
    model_types=("unispeech",),
    tasks=audio_encoder(),
    tiny=SPEECH,
)
