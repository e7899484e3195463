"""Audio preprocessing on the device: the spectrogram against transformers', the resampler against a sine."""

import io
import wave

import numpy as np
import pytest

from edgeopt.data.preprocessing import AudioInput, Spectrogram
from edgeopt.device_code import inference

AUDIO = inference("audio")


def recording(values: np.ndarray, rate: int, channels: int = 1) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((values * 32767).astype("<i2").tobytes())
    return buffer.getvalue()


@pytest.mark.parametrize(("rate", "wanted"), [(8000, 16000), (44100, 16000), (16000, 8000), (22050, 16000)])
def test_a_resampled_sine_is_the_sine_at_the_other_rate(rate: int, wanted: int) -> None:
    times = np.arange(rate) / rate
    got = AUDIO.resample(np.sin(2 * np.pi * 440 * times), rate, wanted)
    want = np.sin(2 * np.pi * 440 * np.arange(len(got)) / wanted)
    assert len(got) == wanted
    assert np.abs(got - want)[200:-200].max() < 2e-3


def test_frequencies_above_the_new_limit_are_gone() -> None:
    tone = np.sin(2 * np.pi * 7000 * np.arange(16000) / 16000)
    assert np.abs(AUDIO.resample(tone, 16000, 8000))[100:-100].max() < 0.01


def test_stereo_is_mixed_and_silence_pads_to_the_length() -> None:
    stereo = np.stack([np.full(100, 0.5), np.full(100, -0.25)], axis=1).ravel()
    values, rate = AUDIO.read_wav(recording(stereo, 8000, channels=2))
    got = AUDIO.audio_input(values, rate, AudioInput(rate=8000, length=120, channel_axes=1).model_dump())
    assert got.shape == (1, 1, 120)
    assert got[0, 0, :100] == pytest.approx(0.125, abs=1e-3)
    assert np.all(got[0, 0, 100:] == 0)


@pytest.mark.parametrize(
    ("scale", "area", "log", "theirs"),
    [("htk", False, "db", "dB"), ("slaney", True, "log10", "log10"), ("htk", False, "ln", "log")],
)
def test_log_mel_equals_transformers(scale: str, area: bool, log: str, theirs: str) -> None:
    audio_utils = pytest.importorskip("transformers.audio_utils")
    samples = np.random.default_rng(0).normal(size=4000) * 0.1
    options = Spectrogram(frame=400, hop=160, fft=512, mels=40, low=20.0, scale=scale, area=area, log=log, floor=1e-10)
    got = AUDIO.features(samples, 16000, options.model_dump())
    filters = audio_utils.mel_filter_bank(257, 40, 20.0, 8000.0, 16000, norm="slaney" if area else None, mel_scale=scale)
    window = audio_utils.window_function(400, "hann", periodic=True)
    want = audio_utils.spectrogram(
        samples, window, 400, 160, fft_length=512, power=2.0, center=True, mel_filters=filters, log_mel=theirs, mel_floor=1e-10
    )
    frames = min(got.shape[1], want.shape[1])
    error = np.abs(got[:, :frames] - want[:, :frames]).max()
    assert frames >= 25
    assert error < 1e-2 * (10 if log == "db" else 1), error


@pytest.mark.parametrize("content", [b"", b"RIFF", b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x03\x00\x01\x00"])
def test_what_is_no_recording_is_refused_in_one_line(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a \.wav file"):
        AUDIO.read_wav(content)


@pytest.mark.parametrize("rate", [1, 999, 768_001, 2**31 - 1])
def test_a_rate_that_no_recording_has_is_refused_before_anything_is_resampled(rate: int) -> None:
    with pytest.raises(ValueError, match=rf"16 bits, 1 channels, {rate} Hz cannot be read"):
        AUDIO.read_wav(recording(np.zeros(10), rate))
