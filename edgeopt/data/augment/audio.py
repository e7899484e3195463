"""Views of waveforms [samples] and spectrograms [..., bands, frames]: shifted in time, noisy, louder, masked.

SpecAugment: Park et al. (2019), https://arxiv.org/abs/1904.08779, section 2: masks over frames and bands, filled with the mean.
Time is the last axis of both forms.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edgeopt.data.augment.config import AudioViews
from edgeopt.data.augment.view import View
from edgeopt.data.samples import Samples
from edgeopt.errors import DataError

Signal = NDArray[np.float32]


@dataclass(frozen=True)
class AudioView:
    """Makes views of one recording; see `AudioViews`."""

    samples: Samples
    options: AudioViews

    def __call__(self, index: int, random: np.random.Generator) -> View:
        """Return a view of recording `index`."""
        options = self.options
        sample = self.samples[index]
        signal = np.array(sample[self._name])
        if options.shift:
            signal = moved(signal, options.shift, random)
        if options.gain and signal.ndim == 1:
            signal = signal * np.float32(1 + random.uniform(-options.gain, options.gain))
        if options.noise:
            level = random.uniform(0, options.noise) * float(signal.std())
            signal = signal + random.standard_normal(signal.shape, dtype=np.float32) * np.float32(level)
        for _ in range(options.time_masks):
            signal = masked(signal, -1, options.mask_share, random)
        for _ in range(options.band_masks if signal.ndim > 1 else 0):
            signal = masked(signal, -2, options.mask_share, random)
        return View({**sample, self._name: np.ascontiguousarray(signal, dtype=np.asarray(sample[self._name]).dtype)})

    @cached_property
    def _name(self) -> str:
        names = [name for name, array in self.samples[0].items() if array.dtype.kind == "f" and array.ndim >= 1]
        if len(names) != 1:
            raise DataError(f"augment.audio: one input must be a float signal; the samples have {', '.join(self.samples[0])}")
        return names[0]


def moved(signal: Signal, most: float, random: np.random.Generator) -> Signal:
    """Return `signal` moved in time by up to `most` of its length; what is left free repeats the edge (frames) or is silent."""
    length = signal.shape[-1]
    move = round(float(random.uniform(-most, most)) * length)
    if signal.ndim > 1:
        return signal[..., np.clip(np.arange(length) - move, 0, length - 1)]
    result = np.zeros_like(signal)
    if move >= 0:
        result[move:] = signal[: length - move]
    else:
        result[:move] = signal[-move:]
    return result


def masked(signal: Signal, axis: int, most: float, random: np.random.Generator) -> Signal:
    """Return `signal` with a run of up to `most` of `axis` set to its mean."""
    length = signal.shape[axis]
    width = int(random.integers(0, max(1, int(most * length)) + 1))
    start = int(random.integers(0, length - width + 1))
    result = np.moveaxis(signal, axis, 0).copy()
    result[start : start + width] = signal.mean()
    return np.moveaxis(result, 0, axis)
