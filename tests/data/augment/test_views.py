"""Views are a pure function of seed, sample and number."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.data.augment.config import AudioViews, AugmentOptions, ImageViews, TextViews
from edgeopt.data.augment.views import PlainViews, make_views
from edgeopt.data.samples import Samples, from_arrays
from edgeopt.errors import DataError, RecipeError


def images() -> Samples:
    return from_arrays({"x": np.random.default_rng(0).standard_normal((6, 3, 8, 8)).astype(np.float32)}, np.arange(6) % 2)


def options(**values: object) -> AugmentOptions:
    return AugmentOptions(views=4, image=ImageViews(crop=2, **values))  # type: ignore[arg-type]


def test_a_view_is_always_the_same_and_others_differ() -> None:
    first, second = (make_views(images(), options(operations=2), seed=3) for _ in range(2))
    one = first.batch([4, 1], 2)
    assert np.array_equal(one.arrays["x"], second.batch([4, 1], 2).arrays["x"])
    assert np.array_equal(one.arrays["x"][1], first.batch([1], 2).arrays["x"][0]), "a view depends on its batch"
    assert not np.array_equal(one.arrays["x"], first.batch([4, 1], 3).arrays["x"])
    other = make_views(images(), options(operations=2), seed=4)
    assert not np.array_equal(one.arrays["x"], other.batch([4, 1], 2).arrays["x"])
    assert first.digest != other.digest


def test_mixtures_name_their_partner_and_share() -> None:
    samples = images()
    views = make_views(samples, AugmentOptions(image=ImageViews(flip=0.0, mixup=1.0)), seed=0)
    batch = views.batch(range(6), 0)
    for index in range(6):
        share, partner = float(batch.shares[index]), batch.partners[index]
        expected = share * samples[index]["x"] + (1 - share) * samples[partner]["x"]
        assert batch.arrays["x"][index] == pytest.approx(expected, abs=1e-6)
        assert 0.5 <= share <= 1


def test_no_options_mean_the_samples_as_they_are() -> None:
    samples = images()
    views = make_views(samples, None, seed=0)
    assert isinstance(views, PlainViews)
    assert np.array_equal(views.batch([2, 0], 0).arrays["x"], samples.collate([2, 0])["x"])


def test_views_that_do_not_fit_the_samples_are_refused() -> None:
    with pytest.raises(DataError, match=r"augment\.text: the samples have no input_ids but x"):
        make_views(images(), AugmentOptions(text=TextViews()), seed=0)
    with pytest.raises(RecipeError, match="choose one of text, image and audio"):
        make_views(images(), AugmentOptions(image=ImageViews(), audio=AudioViews()), seed=0)
    flat = from_arrays({"x": np.zeros((3, 5), np.float32)})
    with pytest.raises(DataError, match=r"augment\.image: one input must be float images"):
        make_views(flat, options(), seed=0).batch([0], 0)
