"""The digits: splits that never change, and labels that are those of the images."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt import extras
from edgeopt.data.digits import load_digits
from edgeopt.data.sets import load_set
from edgeopt.errors import MachineError


def test_the_digits_are_split_once_and_for_all() -> None:
    splits = load_set("digits")
    assert {name: len(samples) for name, samples in splits.items()} == {"train": 1197, "calibration": 200, "evaluation": 400}
    assert {name: samples.digest[:12] for name, samples in splits.items()} == {
        "train": "557fde103552",
        "calibration": "f56887551f74",
        "evaluation": "588d1a938ee3",
    }
    seen = [samples[index]["image"].tobytes() for samples in splits.values() for index in range(len(samples))]
    assert len(seen) == 1797
    first = splits["train"][0]["image"]
    assert (first.shape, first.dtype) == ((1, 8, 8), np.float32)
    assert 0 <= first.min() <= first.max() <= 1


def test_each_label_is_that_of_its_image() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    whole = datasets.load_digits()
    known: dict[bytes, set[int]] = {}
    for pixels, label in zip(whole.images, whole.target, strict=True):
        known.setdefault(pixels.astype(np.uint8).tobytes(), set()).add(int(label))
    for samples in load_digits().values():
        assert samples.labels is not None
        for index in range(len(samples)):
            pixels = np.round(samples[index]["image"][0] * 16).astype(np.uint8)
            assert int(samples.labels[index]) in known[pixels.tobytes()]


def test_without_scikit_learn_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(MachineError, match=r"the data set of digits.*pip install"):
        load_digits()
