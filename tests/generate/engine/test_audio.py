"""Spectrograms: those of transformers; recordings of every width and rate."""

from __future__ import annotations

import json
import struct
import wave
from pathlib import Path

import numpy as np
import pytest

from edgeopt.generate.engine.audio import Listening, log_mel, mel_filters, read_listening, read_wav, resampled
from edgeopt.generate.engine.errors import FolderError, PromptError

TONE = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000) * 0.5


@pytest.mark.parametrize("mels", [80, 128])
def test_spectrograms_are_those_of_transformers(mels: int) -> None:
    from transformers import WhisperFeatureExtractor

    theirs = WhisperFeatureExtractor(feature_size=mels, chunk_length=2)
    listening = Listening(mels=mels, seconds=2)
    assert np.abs(mel_filters(listening).T - theirs.mel_filters).max() < 1e-6
    noise = np.random.default_rng(0).normal(size=20000).astype(np.float32) * 0.1
    for samples in (noise, TONE.astype(np.float32), np.zeros(100, np.float32)):
        want = theirs(samples, sampling_rate=16000, return_tensors="np")["input_features"]
        error = float(np.abs(log_mel(samples, listening) - want).max())
        assert error < 2e-4, f"largest error {error:.1e}"


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 2])
def test_recordings_of_every_width(tmp_path: Path, width: int, channels: int) -> None:
    whole = np.round(TONE * (2 ** (8 * width - 1) - 1)).astype(np.int64)
    whole = whole + 128 if width == 1 else whole
    data = b"".join(int(value).to_bytes(width, "little", signed=width > 1) * channels for value in whole)
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(16000)
        file.writeframes(data)
    assert np.abs(read_wav(tmp_path / "a.wav", 16000) - TONE).max() < (0.02 if width == 1 else 1e-4)


@pytest.mark.parametrize("rate", [8000, 22050, 48000])
def test_another_rate_keeps_the_tone(rate: int) -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(rate) / rate) * 0.5
    got = resampled(tone, rate, 16000)
    assert len(got) == 16000
    assert np.abs(got - TONE)[100:-100].max() < 1e-3
    assert len(resampled(np.zeros(0), rate, 16000)) == 0


def test_how_a_model_hears(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match=r"no preprocessor_config\.json"):
        read_listening(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"feature_size": 128, "chunk_length": 10}))
    assert read_listening(tmp_path) == Listening(mels=128, seconds=10)
    (tmp_path / "preprocessor_config.json").write_text('{"feature_size": "many"}')
    with pytest.raises(FolderError, match="cannot be read"):
        read_listening(tmp_path)
    with pytest.raises(PromptError, match=r"is not a \.wav file"):
        read_wav(tmp_path / "preprocessor_config.json", 16000)


def recording(width: int, rate: int, data: bytes) -> bytes:
    """A .wav file of one channel whose data may be of any length."""
    form = struct.pack("<IHHIIHH", 16, 1, 1, rate, rate * width, width, 8 * width)
    return b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " + form + b"data" + struct.pack("<I", len(data)) + data


@pytest.mark.parametrize(("width", "rate"), [(2, 0), (2, 1), (2, 2**30), (8, 16000), (5, 16000)])
def test_widths_and_rates_that_no_recording_has_are_refused(width: int, rate: int) -> None:
    with pytest.raises(PromptError, match=rf"{8 * width} bits at {rate} Hz are not read"):
        read_wav(recording(width, rate, bytes(40 * width)), 16000)


@pytest.mark.parametrize("width", [2, 3, 4])
def test_a_recording_that_is_cut_off_is_read_as_far_as_it_goes(width: int) -> None:
    whole = recording(width, 16000, bytes(range(1, 1 + 4 * width)))
    assert len(read_wav(whole[:-1], 16000)) == 3
