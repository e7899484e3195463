"""Seeded views of a data set: view v of sample i is a pure function of (seed, i, v).

So teacher and student see the same view, a resumed training sees the views that it would have seen, and the teacher's outputs
on each view can be kept (`edgeopt.train.teacher_outputs`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgeopt.batches import Batch
from edgeopt.data.augment.config import AugmentOptions
from edgeopt.data.augment.view import View
from edgeopt.data.samples import Samples
from edgeopt.errors import DataError, RecipeError


@dataclass(frozen=True)
class ViewBatch:
    """A batch of views.

    Attributes:
        arrays: the inputs.
        partners: for each sample the one mixed into it, itself where none is.
        shares: share of each sample in its mixture, float32 [N].
        labelled: 1 where the hard label holds, float32 [N].
    """

    arrays: Batch
    partners: tuple[int, ...]
    shares: np.ndarray[tuple[int], np.dtype[np.float32]]
    labelled: np.ndarray[tuple[int], np.dtype[np.float32]]


@dataclass(frozen=True)
class SampleViews:
    """Random views of samples.

    Attributes:
        samples: what they are views of.
        count: number of different views per sample.
        make: gives a view for (sample number, random generator).
        seed: of everything random.
        digest: SHA-256 of data, options and seed.
    """

    samples: Samples
    count: int
    make: Callable[[int, np.random.Generator], View]
    seed: int
    digest: str

    def view(self, index: int, view: int) -> View:
        """Return view number `view` of sample `index`."""
        return self.make(index, np.random.Generator(np.random.PCG64([self.seed, index, view])))

    def batch(self, indices: Sequence[int], view: int) -> ViewBatch:
        """Return view number `view` of the samples at `indices` as one batch."""
        views = [self.view(int(index), view) for index in indices]
        whole = replace(self.samples, count=len(views), read=lambda place: views[place].sample, labels=None)
        partners = tuple(int(index) if one.partner is None else one.partner for index, one in zip(indices, views, strict=True))
        shares = np.asarray([one.share for one in views], np.float32)
        labelled = np.asarray([one.labelled for one in views], np.float32)
        return ViewBatch(whole.collate(range(len(views))), partners, shares, labelled)


@dataclass(frozen=True)
class PlainViews:
    """The samples as they are, as one view."""

    samples: Samples
    count: int = 1

    @property
    def digest(self) -> str:
        """SHA-256 of the data."""
        return self.samples.digest

    def batch(self, indices: Sequence[int], view: int) -> ViewBatch:  # noqa: ARG002
        """Return the samples at `indices`."""
        ones = np.ones(len(indices), np.float32)
        return ViewBatch(self.samples.collate(indices), tuple(int(index) for index in indices), ones, ones)


Views = SampleViews | PlainViews


def make_views(samples: Samples, options: AugmentOptions | None, *, seed: int, tokenizer: Path | None = None) -> Views:
    """Return the views that `options` describe.

    Args:
        samples: the training split.
        options: None: the samples as they are.
        seed: of everything random.
        tokenizer: folder with tokenizer.json, for views of text.

    Raises:
        RecipeError: no kind of view is chosen, or several are.
        DataError: the samples are not of that kind.
    """
    if options is None:
        return PlainViews(samples)
    chosen = [kind for kind in (options.text, options.image, options.audio) if kind is not None]
    if len(chosen) != 1:
        raise RecipeError("augment: choose one of text, image and audio, such as augment = { text = {} }")
    digest = hashlib.sha256(f"{samples.digest} {options.model_dump_json()} {seed}".encode()).hexdigest()
    return SampleViews(samples, options.views, _maker(samples, options, tokenizer), seed, digest)


def _maker(samples: Samples, options: AugmentOptions, tokenizer: Path | None) -> Callable[[int, np.random.Generator], View]:
    if options.text is not None:
        from edgeopt.data.augment.text import TextView, Vocabulary

        if "input_ids" not in samples[0]:
            raise DataError(f"augment.text: the samples have no input_ids but {', '.join(samples[0])}")
        if tokenizer is None:
            raise DataError("augment.text: the tokenizer is not known; the teacher's folder must hold tokenizer.json")
        text = TextView(samples, Vocabulary.read(tokenizer), options.text)
        return lambda index, random: View(*text(index, random))
    if options.image is not None:
        from edgeopt.data.augment.images import ImageView

        return ImageView(samples, options.image)
    from edgeopt.data.augment.audio import AudioView

    if options.audio is None:
        raise RecipeError("augment: choose one of text, image and audio")
    return AudioView(samples, options.audio)
