"""Prompt lookup."""

from __future__ import annotations

from edgeopt.generate.engine.draft import Drafter


def test_after_n_equal_tokens_the_continuation_of_the_last_occurrence_is_guessed_but_one_shorter() -> None:
    assert Drafter([1, 2, 3, 4, 5, 9, 1, 2, 3, 7, 8, 1, 2]).guess(9) == [3]
    assert Drafter([1, 2, 3, 4, 5, 6, 9, 1, 2, 3]).guess(9) == [4, 5]
    assert Drafter([0, 1, 2, 3, 4, 5, 6, 7, 9, 0, 1, 2, 3]).guess(9) == [4, 5, 6]


def test_a_longer_match_wins() -> None:
    assert Drafter([5, 1, 2, 3, 6, 1, 2, 9, 5, 1, 2]).guess(1) == [3]


def test_no_guess_without_a_repeated_pair_or_room() -> None:
    assert Drafter([1, 2, 3, 4]).guess(4) == []
    assert Drafter([1, 2, 1, 2]).guess(0) == []
    assert Drafter([]).guess(4) == Drafter([1]).guess(4) == []


def test_a_copy_is_guessed_by_the_dozen_and_no_more() -> None:
    drafter = Drafter([*range(40), 99])
    sizes = []
    for token in range(20):
        drafter.add(token)
        guess = drafter.guess(99)
        assert guess == list(range(token + 1, token + 1 + len(guess)))
        sizes.append(len(guess))
    assert sizes == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, *[12] * 8]
    assert len(drafter.guess(5)) == 5


def test_what_was_guessed_and_kept_is_counted() -> None:
    drafter = Drafter([1, 2])
    drafter.judge(4, 3)
    drafter.judge(2, 0)
    assert (drafter.offered, drafter.kept) == (6, 3)
