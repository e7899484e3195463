"""Labels that no class of the model has, and classes that no sample has."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.data.labels import check_labels, check_names, known_classes, missing_classes, no_better_than_guessing
from edgeopt.data.samples import from_arrays
from edgeopt.data.select import limited
from edgeopt.errors import DataError


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (range(100, 116), "from 100 to 115 are impossible for a model of 4 classes .0 to 3.; number the classes as the model"),
        ((1, 2, 3, 4), "from 1 to 4 .* are they counted from 1"),
        ((-1, 0, 3), "from -1 to 3"),
    ],
)
def test_impossible_labels_are_refused(labels: range | tuple[int, ...], said: str) -> None:
    with pytest.raises(DataError, match=f"here: labels {said}"):
        check_labels(np.array(labels), 4, where="here")


def test_possible_labels_pass_also_where_classes_are_missing() -> None:
    check_labels(np.array([0, 3, 3]), 4, where="here")
    check_labels(np.array([], np.int64), 4, where="here")


def test_a_limit_takes_each_class_by_its_share_from_data_in_the_order_of_classes() -> None:
    labels = np.repeat(np.arange(10), [200, 100, 100, 100, 100, 100, 100, 100, 50, 50])
    samples = from_arrays({"x": np.arange(1000)}, labels)
    some = limited(samples, 100, seed=1)
    assert some.labels is not None
    assert np.bincount(some.labels).tolist() == [20, 10, 10, 10, 10, 10, 10, 10, 5, 5]
    taken = [int(some[index]["x"]) for index in range(100)]
    assert taken == sorted(taken)
    assert taken == [int(limited(samples, 100, seed=1)[index]["x"]) for index in range(100)]
    assert some.digest != limited(samples, 100, seed=2).digest
    assert limited(samples, None) is samples
    assert limited(samples, 1000) is samples


def test_a_limit_without_labels_is_spread_over_all_samples() -> None:
    some = limited(from_arrays({"x": np.arange(1000)}), 100)
    values = np.array([int(some[index]["x"]) for index in range(100)])
    assert np.histogram(values, bins=4, range=(0, 1000))[0].min() >= 12


def test_missing_classes_are_a_warning_where_there_are_enough_samples() -> None:
    found = missing_classes(np.array([0, 0, 2, 2, 2]), np.arange(5), where="the split")
    assert found is not None
    assert found.startswith("the split has no samples of 3 of 5 classes (1, 3, 4)")
    assert missing_classes(np.array([0, 1]), np.arange(5), where="the split") is None
    assert missing_classes(None, np.arange(5), where="the split") is None
    assert known_classes(np.array([3, 0])).tolist() == [0, 1, 2, 3]


def test_names_of_fewer_classes_than_the_model_has_are_no_numbers() -> None:
    check_names((), 3, where="pics")
    check_names(("cat", "dog", "owl"), 3, where="pics")
    with pytest.raises(DataError, match=r"the data name 2 classes \(cat, dog\) and the model tells 3 apart.*\?classes="):
        check_names(("cat", "dog"), 3, where="pics")
    with pytest.raises(DataError, match=r"name 12 classes \(a, b, c, d, e, f, g, h, …\)"):
        check_names(tuple("abcdefghijkl"), 3, where="pics")


@pytest.mark.parametrize(
    ("right", "labels", "warned"),
    [
        (0.11, np.arange(200) % 10, True),  # labels in another order
        (0.5, np.arange(200) % 10, False),
        (0.92, np.arange(200) < 180, True),  # always the frequent class: 90 %
        (0.97, np.arange(200) < 180, False),
        (0.0, np.arange(10), False),  # too few to say
        (0.0, np.zeros(200, int), False),  # one class alone
    ],
)
def test_a_model_that_guesses_is_warned_of(right: float, labels: np.ndarray, warned: bool) -> None:
    assert (no_better_than_guessing(right, labels.astype(np.int64)) is not None) == warned
