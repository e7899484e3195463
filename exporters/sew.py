"""SEW (https://arxiv.org/abs/2109.06870): the sequence is shortened between the layers."""

from edgeopt.export.audio import audio_encoder
from edgeopt.export.family import Family
from edgeopt.export.tiny import SPEECH

FAMILY = Family(
    name="sew",
    model_types=("sew",),
    tasks=audio_encoder(),
    tiny=SPEECH,
)
