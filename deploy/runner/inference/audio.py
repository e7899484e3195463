"""Recordings become model inputs: .wav to mono samples, resampled, cut or padded, and a log-mel spectrogram if asked for.

Everything is plain arithmetic that JavaScript and C++ repeat: a resampler of windowed sincs, a spectrum of windowed frames,
triangular mel filters, a logarithm, a normalisation.
"""

from __future__ import annotations

import io
import math
import wave
from typing import Any, Mapping, Tuple, Union

import numpy as np

RATES = (1_000, 768_000)
"""Rates in Hz that are read: resampling from a crafted one would take hours, or all memory."""
_ZEROS = 16  # zero crossings of the resampler's sinc on either side


def read_wav(source: Union[str, bytes]) -> Tuple[Any, int]:
    """Return a PCM .wav file as float64 mono samples in −1…1, and its rate.

    Raises:
        ValueError: it is no such file.
    """
    name = source if isinstance(source, str) else "the recording"
    try:
        with wave.open(source if isinstance(source, str) else io.BytesIO(source), "rb") as sound:
            channels, width, rate = sound.getnchannels(), sound.getsampwidth(), sound.getframerate()
            frames = sound.readframes(sound.getnframes())
    except (wave.Error, EOFError, OSError, RuntimeError, OverflowError, MemoryError) as error:
        raise ValueError(f"{name}: not a .wav file of integers (PCM): {error}") from error
    if width not in (1, 2, 3, 4) or channels < 1 or not RATES[0] <= rate <= RATES[1]:
        raise ValueError(f"{name}: {8 * width} bits, {channels} channels, {rate} Hz cannot be read")
    values = decoded(frames, width)
    return values[: len(values) // channels * channels].reshape(-1, channels).mean(axis=1), rate


def decoded(frames: bytes, width: int) -> Any:
    """Return samples of `width` bytes, little-endian, as float64 in −1…1; 8 bits are unsigned by the format."""
    if width == 1:
        return (np.frombuffer(frames, np.uint8).astype(np.float64) - 128) / 128
    raw = np.frombuffer(frames[: len(frames) // width * width], np.uint8).reshape(-1, width)
    widened = np.zeros((len(raw), 4), np.uint8)
    widened[:, 4 - width :] = raw  # shift the sign bit to the top
    return widened.reshape(-1).view("<i4").astype(np.float64) / 2**31


def audio_input(samples: Any, rate: int, steps: Mapping[str, Any]) -> Any:
    """Return mono samples as the model's input, float32 with a batch axis of 1."""
    values = resample(np.asarray(samples, np.float64), rate, steps["rate"])
    if steps["normalise"] and values.size:
        values = (values - values.mean()) / np.sqrt(values.var() + 1e-7)
    if steps["length"] is not None:
        values = fixed(values, steps["length"], 0.0)
    if steps["features"] is not None:
        values = features(values, steps["rate"], steps["features"])
    for _ in range(steps["channel_axes"]):
        values = values[None]
    return np.ascontiguousarray(values, np.float32)[None]


def fixed(values: Any, length: int, fill: float) -> Any:
    """Return `values` cut at the end, or padded there, to `length` along the first axis."""
    missing = max(length - len(values), 0)
    return np.pad(values[:length], [(0, missing)] + [(0, 0)] * (values.ndim - 1), constant_values=fill)


def resample(values: Any, rate: int, wanted: int) -> Any:
    """Return samples at another rate: a sinc below the lower of both Nyquist frequencies under a Hann window."""
    if rate == wanted or not len(values):
        return values
    shared = math.gcd(rate, wanted)
    up, down = wanted // shared, rate // shared
    cutoff = 0.97 * min(1.0, up / down)
    reach = math.ceil(_ZEROS / cutoff)
    count = -(-len(values) * up // down)
    padded = np.pad(values, (reach, reach + down))
    taps = np.arange(-reach, reach + 1)
    result = np.empty(count)
    for phase in range(up):
        offset = phase * down / up
        first, part = int(offset), offset - int(offset)
        distance = taps - part
        window = np.where(np.abs(distance) <= reach, 0.5 + 0.5 * np.cos(np.pi * distance / reach), 0.0)
        weights = cutoff * np.sinc(cutoff * distance) * window
        rows = np.arange(len(range(phase, count, up))) * down + first
        result[phase::up] = np.lib.stride_tricks.sliding_window_view(padded, len(taps))[rows] @ weights
    return result


def features(values: Any, rate: int, options: Mapping[str, Any]) -> Any:
    """Return the (log-mel) spectrogram of mono samples: [bands, time], or [time, bands]."""
    power = spectrogram(values, options)
    bands = power @ mel_filters(rate, options).T if options["mels"] else power
    level = logarithm(bands, options["log"], options["floor"])
    if options["normalise"] and level.size:
        level = (level - level.mean()) / np.sqrt(level.var() + 1e-7)
    level = (level - options["mean"]) / options["std"]
    if options["frames"] is not None:
        level = fixed(level, options["frames"], options["pad"])
    return level if options["layout"] == "time-bands" else level.T


def spectrogram(values: Any, options: Mapping[str, Any]) -> Any:
    """Return |spectrum| to the power of `power`, [time, fft / 2 + 1], of windowed frames."""
    frame, hop, fft = options["frame"], options["hop"], options["fft"]
    if options["centre"]:
        half = fft // 2
        values = np.pad(values, half, mode="reflect") if len(values) > half else np.pad(values, half)
    if len(values) < fft:
        values = np.pad(values, (0, fft - len(values)))
    count = 1 + (len(values) - fft) // hop
    left = (fft - frame) // 2
    window = np.zeros(fft)
    window[left : left + frame] = window_of(options["window"], frame)
    frames = np.lib.stride_tricks.sliding_window_view(values, fft)[::hop][:count]
    return np.abs(np.fft.rfft(frames * window, axis=1)) ** options["power"]


def window_of(kind: str, frame: int) -> Any:
    """Return a periodic window of `frame` samples."""
    phase = 2 * np.pi * np.arange(frame) / frame
    if kind == "hamming":
        return 0.54 - 0.46 * np.cos(phase)
    return 0.5 - 0.5 * np.cos(phase) if kind == "hann" else np.ones(frame)


def mel_filters(rate: int, options: Mapping[str, Any]) -> Any:
    """Return triangular filters [mels, fft / 2 + 1] whose corners are equally far apart on the mel scale."""
    high = options["high"] or rate / 2
    scale = options["scale"]
    ends = np.linspace(to_mel(options["low"], scale), to_mel(high, scale), options["mels"] + 2)
    corners = np.array([from_mel(end, scale) for end in ends])
    bins = np.arange(options["fft"] // 2 + 1) * rate / options["fft"]
    rise = (bins[None, :] - corners[:-2, None]) / (corners[1:-1] - corners[:-2])[:, None]
    fall = (corners[2:, None] - bins[None, :]) / (corners[2:] - corners[1:-1])[:, None]
    filters = np.maximum(0.0, np.minimum(rise, fall))
    if options["area"]:
        filters *= (2.0 / (corners[2:] - corners[:-2]))[:, None]
    return filters


def to_mel(hertz: float, scale: str) -> float:
    """Return a frequency on the mel scale, "htk" or "slaney" (linear below 1 kHz)."""
    if scale == "htk":
        return 2595.0 * math.log10(1.0 + hertz / 700.0)
    return hertz * 3 / 200 if hertz < 1000 else 15.0 + math.log(hertz / 1000.0) * 27 / math.log(6.4)


def from_mel(mel: float, scale: str) -> float:
    """Return the frequency in Hz of a mel."""
    if scale == "htk":
        return 700.0 * (math.pow(10.0, mel / 2595.0) - 1.0)
    return mel * 200 / 3 if mel < 15 else 1000.0 * math.exp(math.log(6.4) / 27 * (mel - 15.0))


def logarithm(values: Any, kind: str, floor: float) -> Any:
    """Return the logarithm of `values`, none smaller than `floor`; "whisper" clamps to 8 decades and maps to about −1…1."""
    if kind == "none":
        return values
    if kind == "ln+":
        return np.log(values + floor)
    wide = np.maximum(values, floor)
    if kind == "ln":
        return np.log(wide)
    level = np.log10(wide)
    if kind == "whisper":
        return (np.maximum(level, level.max() - 8.0) + 4.0) / 4.0
    return 10.0 * level if kind == "db" else level
