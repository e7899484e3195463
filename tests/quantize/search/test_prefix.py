import pytest

from edgeopt.quantize.search.prefix import smallest_prefix


@pytest.mark.parametrize("count", [0, 1, 2, 7, 64, 100])
def test_the_smallest_number_that_holds_is_found_with_few_questions(count):
    for wanted in range(count + 1):
        asked = []
        assert smallest_prefix(count, lambda k, wanted=wanted, asked=asked: asked.append(k) or k >= wanted) == wanted
        assert len(asked) <= 2 * max(count, 1).bit_length() + 2


def test_none_when_nothing_holds():
    assert smallest_prefix(5, lambda _: False) is None
