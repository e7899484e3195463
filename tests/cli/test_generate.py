"""`edgeopt generate`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import edgeopt_here


def test_a_text_is_continued_and_the_speed_is_on_stderr(language_model: Path) -> None:
    done = edgeopt_here("generate", str(language_model), "Once upon", "--max-tokens", "8", "--set", "ignore_eos=true")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert "8 tokens of answer" in done.stderr
    assert "tokens/s" in done.stderr


def test_json_has_tokens_text_and_speeds(language_model: Path) -> None:
    arguments = (
        "generate",
        str(language_model),
        "Once upon",
        "--max-tokens",
        "8",
        "--format",
        "json",
        "--set",
        "ignore_eos=true",
    )
    one, two = (json.loads(edgeopt_here(*arguments).stdout) for _ in range(2))
    assert one["tokens"] == two["tokens"]
    assert len(one["tokens"]) == 8
    assert one["finish_reason"] == "length"
    assert one["prefill_tokens_per_s"] > 0
    assert one["decode_tokens_per_s"] > 0


def test_a_schema_and_the_chat_template(language_model: Path, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "object", "properties": {"n": {"type": "integer", "maximum": 9}}, "required": ["n"]}')
    done = edgeopt_here("generate", str(language_model), "a number", "--chat", "--schema", str(schema), "--format", "json")
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)
    assert values["finish_reason"] == "length" or "n" in json.loads(values["text"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere", "hi"), "no such file or folder"),
        (("MODEL", "hi", "--set", "temprature=1.0"), "did you mean 'temperature'"),
        (("MODEL", "hi", "--set", "top_p=7.0"), "top_p is 7.0: must be above 0"),
        (("MODEL", ""), "the prompt is empty"),
        (("MODEL", "word " * 900), "the model's context is 512"),
        (("MODEL", "hi", "--engine", "other"), "choose edgeopt or genai"),
        (("MODEL", "hi", "--engine", "genai", "--speculate"), "--speculate: not with --engine genai"),
        (("MODEL", "hi", "--set", "seed=0.5"), "seed is 0.5, of a wrong type"),
        (("MODEL", "a \udcff"), "the text is not UTF-8"),
        (("MODEL", "hi", "--schema", "a", "--grammar", "b"), "give one of them"),
        (("MODEL", "hi", "--schema", "absent.json"), "cannot be read"),
        (("MODEL", "hi", "--grammar", "GRAMMAR"), "the lark cannot be read: 1(8): Expected value"),
        (("MODEL", "hi", "--language", "en"), "--language is for speech models"),
        (("MODEL", "hi", "--set", "stop=3"), "stop is 3: give a text, or a list of texts"),
        (("HALVES", "hi", "--chat", "--engine", "genai"), "--chat, --engine genai: not for"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(
    language_model: Path, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    (tmp_path / "wrong.lark").write_text("start: ???\n", encoding="utf-8")
    for half in ("encoder", "decoder"):
        (tmp_path / half).mkdir()
        (tmp_path / half / "model.onnx").write_bytes(b"")
    places = {"MODEL": str(language_model), "GRAMMAR": str(tmp_path / "wrong.lark"), "HALVES": str(tmp_path)}
    done = edgeopt_here("generate", *(places.get(argument, argument) for argument in arguments))
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("chat",), "is an encoder-decoder, which answers one text or recording: use edgeopt generate or edgeopt serve"),
        (("profile",), "is an encoder-decoder"),
    ],
)
def test_what_an_encoder_decoder_does_not_do_is_one_line(tmp_path: Path, command: tuple[str, ...], said: str) -> None:
    for half in ("encoder", "decoder"):
        (tmp_path / half).mkdir()
        (tmp_path / half / "model.onnx").write_bytes(b"")
    done = edgeopt_here(command[0], str(tmp_path), *command[1:])
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr


def test_a_bundle_of_nothing_names_what_is_missing(tmp_path: Path) -> None:
    done = edgeopt_here("bundle", str(tmp_path / "nothing"), "-o", str(tmp_path / "bundle"))
    assert (done.returncode, "no such file or folder" in done.stderr) == (2, True), done.stderr
