from __future__ import annotations

import pytest
from typer.testing import CliRunner

from edgeopt.cli.app import app
from edgeopt.cli.quantize_language import _summary, refuse_others
from edgeopt.errors import EdgeoptError, RecipeError
from edgeopt.quantize.language.guard import Guarded
from edgeopt.quantize.language.stage import LanguageFacts
from edgeopt.quantize.language.text import Likelihood


def facts(text):
    return LanguageFacts(
        size_bytes_before=540_000_000,
        size_bytes_after=102_000_000,
        bits={"a": 4, "b": 4, "c": 8},
        likelihood=Likelihood(1000, 20.0, 21.0, 0.1, 0.9),
        guard=Guarded(8, 7, 1, ()),
        text=text,
        lifted=(),
        decisions=(),
        warnings=(),
        min_onnxruntime="1.23",
    )


def test_perplexity_is_printed_for_text_and_never_for_the_models_own_words(tmp_path):
    lines = "\n".join(_summary(tmp_path, facts("wiki.txt")))
    assert "540.00 → 102.00 MB, 2 matrices at 4 bits, 1 at 8" in lines
    assert "perplexity 20.00 → 21.00 (+5.0%), KL 0.1000, same first choice 90.0% (1,000 tokens of wiki.txt)" in lines
    assert "7 of 8 greedy texts equal, 1 part at a near tie" in lines
    own = "\n".join(_summary(tmp_path, facts(None)))
    assert "20.00" not in own
    assert "--calibration TEXT" in own


def test_another_preset_and_options_of_other_schemes_are_refused():
    with pytest.raises(RecipeError, match=r"--preset lm .*did you mean 'llm'"):
        refuse_others("lm")
    with pytest.raises(RecipeError, match="leave the others out"):
        refuse_others("llm", None, "percentile")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--preset", "llm"], "--output is missing"),
        (["--preset", "llm", "-o", "out", "--dry-run"], "leave the others out"),
        (["--preset", "llm", "-o", "out", "--sensitivity"], "leave the others out"),
        (["--preset", "llm", "-o", "out", "--limit", "3"], "leave the others out"),
        (["-o", "out.onnx"], "--calibration is missing"),
        (["--preset", "llm", "-o", "out"], "generation.json"),
        (["--preset", "llm", "-o", "out", "--set", "metod=rtn"], "unknown key 'metod'"),
        (["--preset", "llm", "-o", "out", "--train", "5x"], "write a number and s, m or h"),
        (["--preset", "llm", "-o", "out", "--train", "5m", "--set", "train.setps=3"], "unknown key 'train.setps'"),
    ],
)
def test_mistakes_are_said_in_one_line(tmp_path, arguments, said):
    result = CliRunner().invoke(app, ["quantize", str(tmp_path / "model.onnx"), *arguments])
    assert isinstance(result.exception, EdgeoptError)
    assert said in str(result.exception)
