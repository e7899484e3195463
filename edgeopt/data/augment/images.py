"""Views of images [channels, height, width]: mirrored, shifted, changed in colour, erased, mixed.

Values are used as the model gets them (normalised or not): colour operations work relative to an image's own mean and range.
mixup: Zhang et al. (2017), https://arxiv.org/abs/1710.09412: x = s·a + (1 − s)·b, s uniform in [½, 1].
cutmix: Yun et al. (2019), https://arxiv.org/abs/1905.04899: a rectangle of b in a, s = share of a's area that is left.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edgeopt.data.augment.config import ImageViews
from edgeopt.data.augment.view import View
from edgeopt.data.samples import Samples
from edgeopt.errors import DataError

Image = NDArray[np.float32]
_CHANNELS = {1, 3, 4}


@dataclass(frozen=True)
class ImageView:
    """Makes views of one image; see `ImageViews`."""

    samples: Samples
    options: ImageViews

    def __call__(self, index: int, random: np.random.Generator) -> View:
        """Return a view of image `index`."""
        options = self.options
        sample = self.samples[index]
        image = self._varied(np.asarray(sample[self._name]), random)
        partner, share = None, 1.0
        chance = random.random()
        if chance < options.mixup + options.cutmix and len(self.samples) > 1:
            partner = int(random.integers(len(self.samples)))
            other = self._varied(np.asarray(self.samples[partner][self._name]), random)
            mix = mixed if chance < options.mixup else pasted
            image, share = mix(image, other, random)
        return View({**sample, self._name: np.ascontiguousarray(image)}, True, partner, share)

    @cached_property
    def _name(self) -> str:
        """The input that is an image."""
        names = [name for name, array in self.samples[0].items() if array.ndim == 3 and array.dtype.kind == "f"]
        if len(names) != 1:
            shapes = ", ".join(f"{name} {array.dtype}{list(array.shape)}" for name, array in self.samples[0].items())
            raise DataError(
                f"augment.image: one input must be float images [channels, height, width]; the samples have {shapes}"
            )
        shape = self.samples[0][names[0]].shape
        if shape[-1] in _CHANNELS and shape[0] not in _CHANNELS:
            raise DataError(
                f"augment.image: '{names[0]}' {list(shape)} has its channels last, and views are of images [channels, height, "
                'width]; prepare them with layout = "NCHW"'
            )
        return names[0]

    def _varied(self, image: Image, random: np.random.Generator) -> Image:
        options = self.options
        if random.random() < options.flip:
            image = image[:, :, ::-1]
        if options.crop:
            image = shifted(image, options.crop, random)
        for _ in range(options.operations):
            operation = _OPERATIONS[int(random.integers(len(_OPERATIONS)))]
            image = operation(image, float(random.uniform(-options.strength, options.strength)))
        return erased(image, random) if random.random() < options.erase else image


def shifted(image: Image, most: int, random: np.random.Generator) -> Image:
    """Return `image` shifted by up to `most` pixels in each direction, its edge filled by reflection."""
    down, right = (int(value) for value in random.integers(0, 2 * most + 1, 2))
    padded = np.pad(image, ((0, 0), (most, most), (most, most)), mode="reflect")
    return padded[:, down : down + image.shape[1], right : right + image.shape[2]]


def mixed(image: Image, other: Image, random: np.random.Generator) -> tuple[Image, float]:
    """Return s · image + (1 − s) · other, and s."""
    share = float(random.uniform(0.5, 1))
    return (share * image + (1 - share) * other).astype(image.dtype), share


def pasted(image: Image, other: Image, random: np.random.Generator) -> tuple[Image, float]:
    """Return `image` with a rectangle of `other` at the same place, of at most half the area, and the share that is left."""
    top, left, height, width = _rectangle(image.shape[1], image.shape[2], random)
    result = image.copy()
    result[:, top : top + height, left : left + width] = other[:, top : top + height, left : left + width]
    return result, 1 - height * width / (image.shape[1] * image.shape[2])


def erased(image: Image, random: np.random.Generator) -> Image:
    """Return `image` with a rectangle of its mean colour (random erasing, https://arxiv.org/abs/1708.04896)."""
    top, left, height, width = _rectangle(image.shape[1], image.shape[2], random)
    result = image.copy()
    result[:, top : top + height, left : left + width] = image.mean(axis=(1, 2), keepdims=True)
    return result


def _rectangle(height: int, width: int, random: np.random.Generator) -> tuple[int, int, int, int]:
    side = float(np.sqrt(random.uniform(0.05, 0.5)))
    tall, wide = max(1, int(side * height)), max(1, int(side * width))
    return int(random.integers(0, height - tall + 1)), int(random.integers(0, width - wide + 1)), tall, wide


def _brightness(image: Image, amount: float) -> Image:
    return np.asarray(image + amount * image.std(), image.dtype)


def _contrast(image: Image, amount: float) -> Image:
    mean = image.mean()
    return np.asarray(mean + (1 + amount) * (image - mean), image.dtype)


def _saturation(image: Image, amount: float) -> Image:
    grey = image.mean(axis=0, keepdims=True)
    return np.asarray(grey + (1 + amount) * (image - grey), image.dtype)


def _sharpness(image: Image, amount: float) -> Image:
    blurred = (np.roll(image, 1, 1) + np.roll(image, -1, 1) + np.roll(image, 1, 2) + np.roll(image, -1, 2)) / 4
    return np.asarray(image + amount * (image - blurred), image.dtype)


def _sheared(image: Image, amount: float) -> Image:
    """Move each row sideways in proportion to its distance from the middle."""
    height, width = image.shape[1:]
    moves = np.rint(amount * 0.5 * (np.arange(height) - height / 2)).astype(np.int64)
    columns = np.clip(np.arange(width)[None, :] - moves[:, None], 0, width - 1)
    return np.take_along_axis(image, np.broadcast_to(columns[None], image.shape), axis=2)


_OPERATIONS: tuple[Callable[[Image, float], Image], ...] = (_brightness, _contrast, _saturation, _sharpness, _sheared)
