"""Options of augmentation."""

from __future__ import annotations

from pydantic import Field

from edgeopt.config import Options


class TextViews(Options):
    """Views of tokenized text; special tokens stay where they are."""

    whole: float = Field(default=0.4, ge=0, le=1)
    """Share of the samples that are not cut; only these keep their hard label."""
    shortest: int = Field(default=3, ge=1)
    """Fewest words of a cut."""
    join: float = Field(default=0.0, ge=0, le=1)
    """Share of the samples to which a cut of another sample is appended."""
    mask: float = Field(default=0.0, ge=0, lt=1)
    """Share of the words that become the mask token."""
    replace: float = Field(default=0.0, ge=0, lt=1)
    """Share of the words replaced by words of other samples."""


class ImageViews(Options):
    """Views of images [channels, height, width]."""

    flip: float = Field(default=0.5, ge=0, le=1)
    """Share of the images mirrored left to right."""
    crop: int = Field(default=0, ge=0)
    """Pixels an image is shifted by at most, in each direction; the edge is filled by reflection."""
    operations: int = Field(default=0, ge=0)
    """Number of random operations per image (RandAugment, https://arxiv.org/abs/1909.13719, of which: brightness, contrast,
    saturation, sharpness, shear)."""
    strength: float = Field(default=0.3, ge=0, le=1)
    """How strong the operations are."""
    erase: float = Field(default=0.0, ge=0, le=1)
    """Share of the images of which a rectangle is erased."""
    mixup: float = Field(default=0.0, ge=0, le=1)
    """Share of the images mixed with another one (https://arxiv.org/abs/1710.09412)."""
    cutmix: float = Field(default=0.0, ge=0, le=1)
    """Share of the images into which a rectangle of another one is pasted (https://arxiv.org/abs/1905.04899)."""


class AudioViews(Options):
    """Views of waveforms [samples] or spectrograms [..., bands, frames]."""

    shift: float = Field(default=0.1, ge=0, lt=1)
    """Largest shift in time, as a share of the length."""
    noise: float = Field(default=0.0, ge=0)
    """Largest standard deviation of added noise, as a share of the signal's."""
    gain: float = Field(default=0.0, ge=0, lt=1)
    """Largest relative change of the loudness (waveforms)."""
    time_masks: int = Field(default=0, ge=0)
    """Masks over frames (SpecAugment, https://arxiv.org/abs/1904.08779)."""
    band_masks: int = Field(default=0, ge=0)
    """Masks over bands (spectrograms)."""
    mask_share: float = Field(default=0.15, gt=0, lt=1)
    """Largest share of the axis that one mask covers."""


class AugmentOptions(Options):
    """Random views of the training samples, the same for teacher and student."""

    views: int = Field(default=8, ge=1)
    """Number of different views per sample; epoch e sees view e modulo this number, so that the teacher runs once per view."""
    text: TextViews | None = None
    """How text is varied."""
    image: ImageViews | None = None
    """How images are varied."""
    audio: AudioViews | None = None
    """How recordings are varied."""
