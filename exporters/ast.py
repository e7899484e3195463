"""Audio Spectrogram Transformer (https://arxiv.org/abs/2104.01778): a ViT on spectrograms."""

from edgeopt.export.audio import SPECTROGRAM_CLASSIFICATION
from edgeopt.export.family import Family

FAMILY = Family(
    name="ast",
    model_types=("audio-spectrogram-transformer",),
    tasks={"audio-classification": SPECTROGRAM_CLASSIFICATION},
    tiny={
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_length": 64,
        "num_mel_bins": 32,
    },
)
