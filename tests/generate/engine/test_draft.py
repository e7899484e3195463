"""Prompt lookup."""

from __future__ import annotations

from edgeopt.generate.engine.draft import Drafter


def test_the_continuation_of_the_last_occurrence_is_guessed() -> None:
    assert Drafter([1, 2, 3, 4, 5, 9, 1, 2, 3, 7, 8, 1, 2]).guess(3) == [3, 7, 8]


def test_a_longer_match_wins() -> None:
    assert Drafter([5, 1, 2, 3, 6, 1, 2, 9, 5, 1, 2]).guess(1) == [3]


def test_no_guess_without_a_repeated_pair_or_room() -> None:
    assert Drafter([1, 2, 3, 4]).guess(4) == []
    assert Drafter([1, 2, 1, 2]).guess(0) == []


def test_guesses_grow_while_right_and_pause_after_two_misses() -> None:
    text = [*range(30), *range(3)]
    drafter = Drafter(text)
    assert len(drafter.guess(99)) == 4
    drafter.judge(4, 4)
    assert len(drafter.guess(99)) == 8
    drafter.judge(8, 0)
    assert len(drafter.guess(99)) == 4
    drafter.judge(4, 0)
    assert drafter.guess(99) == []
    for token in range(3, 3 + 16):
        drafter.add(token)
    assert drafter.guess(99) == [19, 20]
    assert (drafter.offered, drafter.kept) == (16, 4)
