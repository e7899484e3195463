"""Tasks of audio models, used by families."""

from __future__ import annotations

from collections.abc import Mapping

from edgeopt.export.family import Config, Input, Task


def waveforms(config: Config) -> Mapping[str, Input]:  # noqa: ARG001
    """Return the input of a model on raw samples at 16 kHz."""
    return {"input_values": Input(("batch", "samples"))}


def audio_encoder() -> dict[str, Task]:
    """Return the tasks of a model on raw waveforms."""
    return {
        "audio-classification": Task(("ForSequenceClassification",), "AutoModelForAudioClassification", waveforms, ("logits",)),
        "automatic-speech-recognition": Task(("ForCTC",), "AutoModelForCTC", waveforms, ("logits",)),
        "feature-extraction": Task(("Model",), "AutoModel", waveforms, ("last_hidden_state",)),
    }


def spectrograms(config: Config) -> Mapping[str, Input]:
    """Return the input of a model on spectrograms of fixed length."""
    return {"input_values": Input(("batch", int(config.max_length), int(config.num_mel_bins)))}


SPECTROGRAM_CLASSIFICATION = Task(("ForAudioClassification",), "AutoModelForAudioClassification", spectrograms, ("logits",))
