"""Operations on images."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.data.augment import images
from edgeopt.data.augment.config import ImageViews
from edgeopt.data.augment.images import ImageView
from edgeopt.data.samples import from_arrays
from edgeopt.errors import DataError


def image() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((3, 8, 8)).astype(np.float32)


def test_a_pasted_rectangle_covers_the_rest_of_the_share() -> None:
    first, other = np.zeros((3, 8, 8), np.float32), np.ones((3, 8, 8), np.float32)
    for seed in range(20):
        result, share = images.pasted(first, other, np.random.default_rng(seed))
        assert result.mean() == pytest.approx(1 - share)
        assert share >= 0.5


def test_a_shift_moves_by_whole_pixels() -> None:
    whole = image()
    padded = np.pad(whole, ((0, 0), (2, 2), (2, 2)), mode="reflect")
    windows = [padded[:, down : down + 8, right : right + 8] for down in range(5) for right in range(5)]
    shifted = images.shifted(whole, 2, np.random.default_rng(1))
    assert any(np.array_equal(shifted, window) for window in windows)


def test_all_operations_keep_shape_type_and_finite_values() -> None:
    chosen = ImageViews(crop=2, operations=3, erase=1.0, strength=1.0)
    view = ImageView(from_arrays({"x": image()[None]}), chosen)
    for seed in range(40):
        made = view(0, np.random.default_rng(seed)).sample["x"]
        assert made.shape == (3, 8, 8)
        assert made.dtype == np.float32
        assert np.isfinite(made).all()


def test_half_of_the_images_are_mirrored() -> None:
    view = ImageView(from_arrays({"x": image()[None]}), ImageViews())
    mirrored = [np.array_equal(view(0, np.random.default_rng(seed)).sample["x"], image()[:, :, ::-1]) for seed in range(200)]
    assert 70 < sum(mirrored) < 130


def test_images_with_channels_last_are_refused() -> None:
    view = ImageView(from_arrays({"x": image().transpose(1, 2, 0)[None]}), ImageViews())
    with pytest.raises(DataError, match=r"'x' \[8, 8, 3\] has its channels last"):
        view(0, np.random.default_rng(0))
