"""Operations on recordings."""

from __future__ import annotations

import numpy as np

from edgeopt.data.augment import audio
from edgeopt.data.augment.audio import AudioView
from edgeopt.data.augment.config import AudioViews
from edgeopt.data.samples import from_arrays


def test_a_moved_waveform_is_silent_where_it_came_from() -> None:
    signal = np.arange(1, 101, dtype=np.float32)
    for seed in range(20):
        moved = audio.moved(signal, 0.3, np.random.default_rng(seed))
        kept = moved[moved > 0]
        assert np.array_equal(np.diff(kept), np.ones(len(kept) - 1))
        assert len(kept) >= 70


def test_masks_cover_runs_of_frames_and_bands_with_the_mean() -> None:
    signal = np.random.default_rng(0).standard_normal((10, 40)).astype(np.float32)
    widths = []
    for seed in range(30):
        masked = audio.masked(signal, -1, 0.25, np.random.default_rng(seed))
        changed = np.flatnonzero((masked != signal).any(axis=0))
        widths.append(len(changed))
        if len(changed):
            assert np.array_equal(changed, np.arange(changed[0], changed[-1] + 1))
            assert np.allclose(masked[:, changed], signal.mean())
    assert max(widths) <= 10
    assert len(set(widths)) > 3
    assert (audio.masked(signal, -2, 0.5, np.random.default_rng(1)) != signal).any(axis=1).sum() <= 5


def test_views_keep_shape_and_type() -> None:
    for shape in ((80,), (12, 30), (1, 12, 30)):
        samples = from_arrays({"x": np.random.default_rng(0).standard_normal((2, *shape)).astype(np.float32)})
        view = AudioView(samples, AudioViews(noise=0.1, gain=0.2, time_masks=1, band_masks=1))
        made = view(1, np.random.default_rng(0)).sample["x"]
        assert made.shape == shape
        assert made.dtype == np.float32
        assert not np.array_equal(made, samples[1]["x"])
