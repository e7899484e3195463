"""Speech as a language model for speech hears it: log-mel spectrograms of 30 seconds, in numpy.

The steps and constants are those of Whisper (https://arxiv.org/abs/2212.04356, appendix F): 16 kHz, windows of 25 ms every
10 ms (Hann), power, Slaney's mel filters of area 1, log10, no deeper than 8 below the peak, shifted and scaled.
"""

from __future__ import annotations

import io
import json
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .arrays import Array
from .errors import FolderError, PromptError

_FULL_SCALE = {1: 128.0, 2: 2.0**15, 3: 2.0**23, 4: 2.0**31}
_RATES_HZ = (1_000, 768_000)
"""Rates that are read: bringing a recording of another one to the model's would take all memory."""


@dataclass(frozen=True)
class Listening:
    """How a model hears, from preprocessor_config.json."""

    rate_hz: int = 16000
    window: int = 400
    hop: int = 160
    mels: int = 80
    seconds: int = 30

    @property
    def samples(self) -> int:
        """Samples of one spectrogram."""
        return self.rate_hz * self.seconds


def read_listening(folder: Path) -> Listening:
    """Return how the model in `folder` hears."""
    file = folder / "preprocessor_config.json"
    if not file.is_file():
        raise FolderError(f"{folder}: no preprocessor_config.json; copy it from the model's folder")
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        return Listening(
            rate_hz=int(values.get("sampling_rate", 16000)),
            window=int(values.get("n_fft", 400)),
            hop=int(values.get("hop_length", 160)),
            mels=int(values.get("feature_size", 80)),
            seconds=int(values.get("chunk_length", 30)),
        )
    except (OSError, ValueError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise FolderError(f"{file}: cannot be read: {error}") from error


def read_wav(source: Path | bytes, rate_hz: int) -> Array:
    """Return the samples of a .wav file, or of the content of one, at `rate_hz`, one channel, -1 … 1, [samples] float32.

    A file that is cut off is read as far as it goes.

    Raises:
        PromptError: it is no .wav file of whole numbers, or of a rate that is not read.
    """
    name = "the recording" if isinstance(source, bytes) else source
    try:
        with wave.open(io.BytesIO(source) if isinstance(source, bytes) else str(source), "rb") as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            data = file.readframes(file.getnframes())
    except (OSError, EOFError, ValueError, wave.Error) as error:  # (ValueError: a name that no file can have)
        raise PromptError(f"{name}: is not a .wav file with whole numbers as samples: {error}") from error
    if width not in _FULL_SCALE or not _RATES_HZ[0] <= rate <= _RATES_HZ[1]:
        raise PromptError(f"{name}: {8 * width} bits at {rate} Hz are not read; save it with 8 to 32 bits at {rate_hz} Hz")
    data = data[: len(data) // (width * channels) * (width * channels)]
    if width == 1:
        values = np.frombuffer(data, np.uint8).astype(np.float64) - 128
    elif width == 3:
        triples = np.frombuffer(data, np.uint8).reshape(-1, 3)
        values = (np.pad(triples, ((0, 0), (1, 0))).view("<i4")[:, 0] >> 8).astype(np.float64)
    else:
        values = np.frombuffer(data, f"<i{width}").astype(np.float64)
    mono = (values / _FULL_SCALE[width]).reshape(-1, channels).mean(1)
    return resampled(mono, rate, rate_hz).astype(np.float32)


def resampled(samples: Array, rate: int, wanted: int) -> Array:
    """Return `samples` at another rate: what is above half of the lower rate is removed in the frequency domain."""
    if rate == wanted or not len(samples):
        return samples
    count = max(1, round(len(samples) * wanted / rate))
    spectrum = np.fft.rfft(samples)
    kept = np.zeros(count // 2 + 1, complex)
    size = min(len(spectrum), len(kept))
    kept[:size] = spectrum[:size]
    return np.asarray(np.fft.irfft(kept, count) * (count / len(samples)))


def log_mel(samples: Array, listening: Listening) -> Array:
    """Return the spectrogram of up to `listening.samples` samples, padded with silence, [1, mels, frames] float32."""
    whole = np.zeros(listening.samples)
    whole[: len(samples)] = samples[: listening.samples]
    half = listening.window // 2
    padded = np.pad(whole, half, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, listening.window)[:: listening.hop][:-1]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(listening.window) / listening.window)
    power = np.abs(np.fft.rfft(frames * hann, axis=1)) ** 2
    mel = np.log10(np.maximum(mel_filters(listening) @ power.T, 1e-10))
    mel = (np.maximum(mel, mel.max() - 8.0) + 4.0) / 4.0
    return np.asarray(mel[None], np.float32)


def mel_filters(listening: Listening) -> Array:
    """Return Slaney's triangular filters of area 1, [mels, frequencies]."""
    frequencies = np.linspace(0, listening.rate_hz / 2, listening.window // 2 + 1)
    edges = _hertz(np.linspace(0.0, _mel(np.array([listening.rate_hz / 2]))[0], listening.mels + 2))
    rising = (frequencies - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - frequencies) / (edges[2:] - edges[1:-1])[:, None]
    return np.asarray(np.maximum(0, np.minimum(rising, falling)) * (2.0 / (edges[2:] - edges[:-2]))[:, None])


_BREAK_HZ, _BREAK_MEL, _STEP = 1000.0, 15.0, np.log(6.4) / 27.0


def _mel(hertz: Array) -> Array:
    above = _BREAK_MEL + np.log(np.maximum(hertz, _BREAK_HZ) / _BREAK_HZ) / _STEP
    return np.where(hertz < _BREAK_HZ, hertz * 3 / 200, above)


def _hertz(mel: Array) -> Array:
    above = _BREAK_HZ * np.exp(_STEP * (np.maximum(mel, _BREAK_MEL) - _BREAK_MEL))
    return np.where(mel < _BREAK_MEL, mel * 200 / 3, above)
