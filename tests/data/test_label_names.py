"""Names of classes: of the data and of the model."""

from __future__ import annotations

import pytest

from edgeopt.data.label_names import are_known, numbered, numbers_as_names, ordered_names, some_of
from edgeopt.errors import DataError


def test_names_are_numbered_as_the_model_does() -> None:
    numbers, names = numbered(["Positive", "negative", "positive"], ("negative", "positive"), where="a.csv")
    assert numbers.tolist() == [1, 0, 1]
    assert names == ("negative", "positive")


def test_without_names_of_the_model_they_are_numbered_alphabetically() -> None:
    for model in ((), ("LABEL_0", "LABEL_1")):
        numbers, names = numbered(["dog", "cat"], model, where="a.csv")
        assert (numbers.tolist(), names) == ([1, 0], ("cat", "dog"))


def test_a_name_the_model_does_not_know_is_an_error_that_lists_its_names() -> None:
    with pytest.raises(DataError, match=r"a\.csv: the label 'positiv' is none of the model's classes.*negative, positive"):
        numbered(["positiv"], ("negative", "positive"), where="a.csv")
    with pytest.raises(DataError, match=r"has 3 different labels .* the model 2 classes"):
        numbered(["a", "b", "c"], ("LABEL_0", "LABEL_1"), where="a.csv")


@pytest.mark.parametrize(
    ("names", "model", "known"),
    [
        (("New York", "rome"), ("rome", "new_york", "oslo"), True),  # whatever their letters and blanks
        (("rome", "paris"), ("rome", "oslo"), False),
        (("LABEL_0",), ("LABEL_0", "LABEL_1"), False),  # placeholders name nothing
        (("rome",), (), False),
    ],
)
def test_names_are_known_if_each_is_one_of_the_models(names: tuple[str, ...], model: tuple[str, ...], known: bool) -> None:
    assert are_known(names, model) is known


def test_a_message_lists_at_most_eight_names() -> None:
    assert some_of("abc") == "a, b, c"
    assert some_of("abcdefgh") == "a, b, c, d, e, f, g, h"
    assert some_of("abcdefghi") == "a, b, c, d, e, f, g, h, …"


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (["10", "2", "0", "1", "3", "4", "5", "6", "7", "8", "9"], tuple(map(str, range(11)))),
        (["0", "1", "3", "2", "5"], tuple(map(str, range(6)))),  # 4 has no sample: 5 stays 5
        (["1", "2", "4", "3"], ("1", "2", "3", "4")),
        (["1", "2", "4"], ("1", "2", "3", "4")),
        (["00", "01", "03", "02"], ("00", "01", "02", "03")),
        (["9", "4", "4"], ("4", "9")),  # codes
        (["207", "281", "283"], ("207", "281", "283")),
        (["0", "9"], ("0", "9")),
        (["1", "01", "2"], ("01", "1", "2")),  # two classes of one number
    ],
)
def test_names_that_are_numbers_keep_them_where_a_class_has_no_sample(values: list[str], names: tuple[str, ...]) -> None:
    assert numbers_as_names(values) == names


def test_digits_that_are_no_numbers_are_names() -> None:
    assert ordered_names(["²", "1", "²"]) == ("1", "²")
