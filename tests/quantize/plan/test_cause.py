"""Every cause has a sentence, and only the sentence is for people."""

import pytest

from edgeopt.quantize.plan.cause import Cause, Why, sentence


@pytest.mark.parametrize("cause", list(Cause))
def test_every_cause_has_words_that_hold_its_detail(cause):
    words = sentence(Why(cause, "DETAIL"))
    assert words and "{" not in words
    assert (words != sentence(Why(cause, "OTHER"))) == ("DETAIL" in words)


def test_the_detail_stands_in_its_place():
    assert sentence(Why(Cause.WEIGHT_AXES, "3")) == "its weight has 3 axes; integer kernels take 2"
