"""wav2vec 2.0 (https://arxiv.org/abs/2006.11477)."""

from edgeopt.export.audio import audio_encoder
from edgeopt.export.family import Family
from edgeopt.export.tiny import SPEECH

FAMILY = Family(
    name="wav2vec2",
    model_types=("wav2vec2",),
    tasks=audio_encoder(),
    tiny=SPEECH,
)
