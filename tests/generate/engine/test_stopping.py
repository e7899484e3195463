"""Stop strings across pieces."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeopt.generate.engine.stopping import StopStrings


def run(pieces: list[str], stops: list[str]) -> tuple[str, str | None]:
    stopper, said = StopStrings(stops), ""
    for piece in pieces:
        said += stopper.add(piece)
        if stopper.found is not None:
            return said, stopper.found
    return said + stopper.flush(), None


def test_a_stop_string_in_three_pieces_is_cut() -> None:
    assert run(["one tw", "o thr", "ee four"], ["two three"]) == ("one ", "two three")


def test_what_only_began_like_one_is_said() -> None:
    assert run(["a#", "b##", "c"], ["###"]) == ("a#b##c", None)


def test_the_first_of_several_ends_the_text() -> None:
    assert run(["x END y STOP"], ["STOP", "END"]) == ("x ", "END")


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # (a busy machine draws slowly)
@given(
    st.lists(st.text("ab", max_size=3), max_size=12), st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=3)
)
def test_pieces_do_not_matter(pieces: list[str], stops: list[str]) -> None:
    said, found = run(pieces, stops)
    whole = "".join(pieces)
    assert whole.startswith(said)
    assert not any(stop in said for stop in stops)
    assert found is not None or said == whole
