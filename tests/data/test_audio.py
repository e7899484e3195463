"""Recordings: every width decodes to the same values, and what does not fit is named with a way out."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from edgeopt.data.audio import AudioOptions, read_prepared, read_recording, read_recordings
from edgeopt.data.preprocessing import AudioInput
from edgeopt.errors import DataError

WAVE = np.array([0.0, 0.5, -0.5, 0.25, -1.0])


def record(path: Path, *, width: int = 2, rate: int = 16_000, channels: int = 1) -> Path:
    scale = 2 ** (8 * width - 1)
    steps = np.clip(np.round(WAVE * scale), -scale, scale - 1).astype(np.int64)
    if width == 1:
        steps += 128  # 8-bit samples have no sign
    data = b"".join(int(step).to_bytes(width, "little", signed=width > 1) for step in steps)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(data * channels)
    return path


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_every_width_gives_the_same_values(tmp_path: Path, width: int) -> None:
    found = read_recording(record(tmp_path / "a.wav", width=width))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, WAVE, atol=2.0 ** (1 - 8 * width))


def test_recordings_are_cut_or_filled_with_silence(tmp_path: Path) -> None:
    file = record(tmp_path / "a.wav")
    assert read_recording(file, AudioOptions(length=3)).tolist() == [0.0, 0.5, -0.5]
    assert read_recording(file, AudioOptions(length=7)).tolist()[5:] == [0.0, 0.0]


def test_normalized_recordings_have_mean_0_and_variance_1(tmp_path: Path) -> None:
    found = read_recording(record(tmp_path / "a.wav"), AudioOptions(normalise=True))
    assert float(found.mean()) == pytest.approx(0.0, abs=1e-6)
    assert float(found.var()) == pytest.approx(1.0, abs=1e-4)


def test_two_channels_and_another_rate_are_refused_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"2 channels, 1 is needed; .*ffmpeg"):
        read_recording(record(tmp_path / "stereo.wav", channels=2))
    (tmp_path / "stereo.wav").unlink()
    record(tmp_path / "a.wav")
    record(tmp_path / "b.wav", rate=8_000)
    with pytest.raises(DataError, match=r"b\.wav: sampling rate 8,000 Hz, 16,000 Hz is needed"):
        read_recordings(tmp_path, "speech", AudioOptions())


def test_a_file_cut_short_says_how_much_is_there(tmp_path: Path) -> None:
    file = record(tmp_path / "a.wav")
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(DataError, match="ends early: 5 samples by its header, 3 are there"):
        read_recording(file)


def test_other_options_are_other_data(tmp_path: Path) -> None:
    record(tmp_path / "a.wav")
    digests = {read_recordings(tmp_path, "x", AudioOptions(length=length)).digest for length in (None, 3, 4)}
    assert len(digests) == 3


def test_a_rate_of_zero_and_one_that_no_memory_holds_are_refused(tmp_path: Path) -> None:
    path, steps = record(tmp_path / "a.wav", rate=1), AudioInput(rate=16_000)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 1, 1, 0, "NONE", ""))
        file.writeframes(bytes(40_000))
    with pytest.raises(DataError, match=r"40,000 samples at 1 Hz are too many at 16,000 Hz"):
        read_prepared([path], "x", steps)[0]
    header = bytearray(path.read_bytes())
    header[24:28] = bytes(4)
    path.write_bytes(header)
    with pytest.raises(DataError, match=r"a\.wav: .*its sampling rate is 0 Hz"):
        read_prepared([path], "x", steps)[0]
    with pytest.raises(DataError, match="its sampling rate is 0 Hz"):
        read_recordings(tmp_path, "x")
