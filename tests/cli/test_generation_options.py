"""What `generate` and `chat` print."""

from __future__ import annotations

import pytest

from edgeopt.cli.generation_options import show_piece, speeds
from edgeopt.generate.engine.stream import Answer


def test_a_models_text_does_not_drive_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show_piece("one\n\ttwo \x1b[2J ü 🙂")
    assert capsys.readouterr().out == "one\n\ttwo \\x1b[2J ü 🙂"


def test_the_line_of_speeds() -> None:
    answer = Answer((1, 2, 3), "abc", "stop", 100, 60, prefill_s=0.2, decode_s=0.1, drafted=8, accepted=5)
    assert speeds(answer) == (
        "100 tokens of prompt (60 from the cache), first token after 200 ms (200 tokens/s); 3 tokens of answer, 20.0 tokens/s; "
        "5 of 8 guessed tokens were right"
    )
