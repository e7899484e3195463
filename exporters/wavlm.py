"""WavLM (https://arxiv.org/abs/2110.13900): gated relative positions."""

from edgeopt.export.audio import audio_encoder
from edgeopt.export.family import Family
from edgeopt.export.tiny import SPEECH

FAMILY = Family(
    name="wavlm",
    model_types=("wavlm",),
    tasks=audio_encoder(),
    tiny=SPEECH,
)
