"""Folders of recordings: .wav files of integers (PCM), as float32 in −1…1.

Nothing is resampled and no channels are mixed, because the method changes the model's inputs: do it beforehand, where you can
listen to the result. A recording of another rate, or with two channels, is an error that names it.
"""

from __future__ import annotations

import hashlib
import struct
import wave
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np

from edgeopt.batches import Array
from edgeopt.data.preprocessing import AudioInput
from edgeopt.data.samples import Sample, Samples
from edgeopt.device_code import inference
from edgeopt.documents import read_bytes
from edgeopt.errors import DataError

_ADVICE = "convert the recordings first, for example: ffmpeg -i IN -ac 1 -ar RATE -c:a pcm_s16le OUT.wav"
_WIDTHS = (1, 2, 3, 4)  # bytes of a sample
_MOST_VALUES = 2**29  # of one recording after resampling
_UNREADABLE = (wave.Error, EOFError, OSError, RuntimeError, ValueError, OverflowError, MemoryError, struct.error)


@dataclass(frozen=True)
class AudioOptions:
    """How recordings become inputs.

    Attributes:
        rate: sampling rate in Hz that every recording must have; None: that of the first one.
        length: number of samples to cut or pad with silence to; None: unchanged (ragged).
        normalise: to mean 0 and variance 1, as for wav2vec 2.0.
    """

    rate: int | None = None
    length: int | None = None
    normalise: bool = False


def recording_files(folder: Path) -> tuple[list[Path], list[str]]:
    """Return the .wav files in `folder`, sorted by name; where only subfolders hold some, those, and the subfolder of each."""
    files = _recordings(folder)
    if files:
        return files, []
    folders = [inner for inner in sorted(folder.iterdir()) if inner.is_dir()]
    found = [(file, inner.name) for inner in folders for file in _recordings(inner)]
    return [file for file, _ in found], [name for _, name in found]


def _recordings(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("*") if file.suffix.lower() == ".wav")


def read_prepared(files: list[Path], name: str, steps: AudioInput) -> Samples:
    """Return .wav files as a device prepares them (`deploy/runner/inference/audio.py`): resampled, cut, as a spectrogram.

    Raises:
        DataError: one cannot be read, or is not mono.
    """
    code, options = inference("audio"), steps.model_dump(mode="json")
    digest = hashlib.sha256(steps.model_dump_json().encode())
    for file in files:
        digest.update(read_bytes(file, error=DataError, what="a recording"))

    def read(index: int) -> Sample:
        values, rate = read_recording(files[index]), recording_rate(files[index])
        if values.size * steps.rate > _MOST_VALUES * rate:
            raise DataError(f"{files[index]}: {values.size:,} samples at {rate} Hz are too many at {steps.rate:,} Hz")
        return {name: np.asarray(code.audio_input(values, rate, options)[0])}

    return Samples(len(files), read, None, digest.hexdigest(), pad={name: steps.features.pad if steps.features else 0.0})


def read_recordings(folder: Path, name: str, options: AudioOptions = AudioOptions()) -> Samples:
    """Return the .wav files in `folder`, sorted by name, as float32 arrays [time] for the input `name`.

    Raises:
        DataError: there is no file, or one is not PCM, not mono or of another rate.
    """
    files, _ = recording_files(folder)
    if not files:
        raise DataError(f"{folder}: no .wav files here")
    return read_recording_files(files, name, options)


def read_recording_files(files: list[Path], name: str, options: AudioOptions) -> Samples:
    """Return these .wav files as samples; see `read_recordings`."""
    rate = options.rate or recording_rate(files[0])
    digest = hashlib.sha256(f"{astuple(options)} {rate}".encode())
    for file in files:
        digest.update(read_bytes(file, error=DataError, what="a recording"))
        if (found := recording_rate(file)) != rate:
            raise DataError(f"{file}: sampling rate {found:,} Hz, {rate:,} Hz is needed and nothing is resampled: {_ADVICE}")
    return Samples(len(files), lambda index: {name: read_recording(files[index], options)}, None, digest.hexdigest())


def read_recording(file: Path, options: AudioOptions = AudioOptions()) -> Array:
    """Return one recording of 8, 16, 24 or 32 bits as float32 [time]."""
    with _opened(file) as sound:
        channels, width, count = sound.getnchannels(), sound.getsampwidth(), sound.getnframes()
        if channels != 1:
            raise DataError(f"{file}: {channels} channels, 1 is needed; {_ADVICE}")
        if width not in _WIDTHS:
            raise DataError(f"{file}: samples of {8 * width} bits, 8 to 32 can be read; {_ADVICE}")
        try:
            frames = sound.readframes(min(count, file.stat().st_size))  # (as much as the header says is allocated)
        except _UNREADABLE as error:
            raise DataError(f"{file}: not a whole .wav file: {error}; {_ADVICE}") from error
        if len(frames) != count * width:
            there = len(frames) // width
            raise DataError(f"{file}: ends early: {count:,} samples by its header, {there:,} are there; {_ADVICE}")
        values = _decoded(frames, width)
    if options.normalise and values.size:
        values = (values - values.mean()) / np.sqrt(values.var() + 1e-7)
    if options.length is not None:
        values = np.pad(values[: options.length], (0, max(options.length - values.size, 0)))
    return values.astype(np.float32)


def recording_rate(file: Path) -> int:
    """Return the sampling rate of a .wav file in Hz."""
    with _opened(file) as sound:
        rate = sound.getframerate()
    if rate < 1:
        raise DataError(f"{file}: not a .wav file of integers (PCM): its sampling rate is {rate} Hz; {_ADVICE}")
    return rate


def _opened(file: Path) -> wave.Wave_read:
    try:
        return wave.open(str(file), "rb")
    except _UNREADABLE as error:
        raise DataError(f"{file}: not a .wav file of integers (PCM): {error}; {_ADVICE}") from error


def _decoded(frames: bytes, width: int) -> Array:
    """Return the frames, `width` bytes each and little-endian, as float64 in −1…1; 8 bits are unsigned by the format."""
    if width == 1:
        return (np.frombuffer(frames, np.uint8).astype(np.float64) - 128) / 128
    raw = np.frombuffer(frames[: len(frames) // width * width], np.uint8).reshape(-1, width)
    widened = np.zeros((len(raw), 4), np.uint8)
    widened[:, 4 - width :] = raw  # shift the sign bit to the top
    return widened.reshape(-1).view("<i4").astype(np.float64) / 2**31
