"""What `generate` and `chat` print."""

from __future__ import annotations

from importlib import import_module

import pytest

from edgeopt.cli.generation_options import show_piece, speeds
from edgeopt.errors import RecipeError
from edgeopt.generate.engine.stream import Answer
from tests.cli.conftest import edgeopt_here


def test_a_models_text_does_not_drive_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show_piece("one\n\ttwo \x1b[2J ü 🙂")
    assert capsys.readouterr().out == "one\n\ttwo \\x1b[2J ü 🙂"


def test_the_line_of_speeds() -> None:
    answer = Answer((1, 2, 3), "abc", "stop", 100, 60, prefill_s=0.2, decode_s=0.1, drafted=8, accepted=5)
    assert speeds(answer) == (
        "100 tokens of prompt (60 from the cache), first token after 200 ms (200 tokens/s); 3 tokens of answer, 20.0 tokens/s; "
        "5 of 8 guessed tokens were right"
    )


@pytest.mark.parametrize(
    ("module", "name", "values"),
    [
        ("edgeopt.quantize.config", "QuantizeConfig", {"threads": 100_000}),
        ("edgeopt.quantize.language.config", "LanguageOptions", {"threads": 100_000}),
        ("edgeopt.profile.config", "GenerationConfig", {"threads": 100_000}),
        ("edgeopt.profile.sweeps", "SweepConfig", {"threads": [100_000]}),
        ("edgeopt.graph.provider", "Provider", {"threads": 100_000}),
    ],
)
def test_more_threads_than_a_machine_survives_are_refused(module: str, name: str, values: dict[str, object]) -> None:
    with pytest.raises(RecipeError, match="less than or equal to 1024"):
        getattr(import_module(module), name).read(values, where="options")
    done = edgeopt_here("generate", "folder", "text", "--threads", "100000")
    assert done.returncode == 2
    assert "1024" in done.stderr
