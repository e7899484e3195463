"""`edgeopt generate`: continue a text with a language model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeopt.cli.generation_options import MaxTokens, SamplingSet, Temperature, TemplateFile, Threads
from edgeopt.cli.options import Format
from edgeopt.cli.output import print_json, say

if TYPE_CHECKING:
    from edgeopt.generate.engine.sampling import Sampling
    from edgeopt.generate.engine.stream import Answer


def generate(
    model: Annotated[Path, typer.Argument(help="Folder, ONNX file or bundle of a language model.")],
    prompt: Annotated[str, typer.Argument(help="The text to continue, - for stdin; for a speech model a .wav file.")],
    max_tokens: MaxTokens = 256,
    temperature: Temperature = 0.0,
    stop: Annotated[list[str] | None, typer.Option("--stop", help="End before this text; may be repeated.")] = None,
    chat: Annotated[bool, typer.Option("--chat", help="Take the prompt as a user's message: apply the chat template.")] = False,
    template: TemplateFile = None,
    schema: Annotated[Path | None, typer.Option("--schema", help="File with a JSON schema that the answer must fit.")] = None,
    lark: Annotated[Path | None, typer.Option("--grammar", help="File with a Lark grammar that the answer must fit.")] = None,
    speculate: Annotated[bool, typer.Option("--speculate/--no-speculate", help="Guess tokens from repeated words.")] = False,
    language: Annotated[
        str | None, typer.Option("--language", help="Language of speech, such as en; default: recognised.")
    ] = None,
    engine: Annotated[str, typer.Option("--engine", help="edgeopt, or genai: the package onnxruntime-genai.")] = "edgeopt",
    threads: Threads = None,
    changes: SamplingSet = None,
    form: Format = "table",
) -> None:
    """Continue a text, token by token; greedy unless told otherwise."""
    from edgeopt.cli.generation_options import grammar, read_stdin, sampling, show_piece
    from edgeopt.cli.options import need_format
    from edgeopt.errors import RecipeError
    from edgeopt.generate.engine.encoder_decoder import is_encoder_decoder
    from edgeopt.generate.faults import engine_errors
    from edgeopt.generate.opening import open_engine

    need_format(form, ("table", "json"))
    options = sampling(changes, max_tokens=max_tokens, temperature=temperature, stop=stop)
    text = read_stdin() if prompt == "-" else prompt
    wanted = grammar(schema, lark)
    if engine not in ("edgeopt", "genai"):
        raise RecipeError(f"--engine {engine}: choose edgeopt or genai")
    if is_encoder_decoder(model):
        others = {"--chat": chat, "--template": template, "--schema": schema, "--grammar": lark, "--speculate": speculate}
        _refuse({**others, "--engine genai": engine == "genai"}, f"not for {model}, which is an encoder-decoder")
        _show(_from_source(model, text, options, language=language, threads=threads, stream=form == "table"), form)
        return
    if engine == "genai":
        _refuse({"--schema": schema, "--grammar": lark, "--speculate": speculate}, "not with --engine genai")
    if language is not None:
        raise RecipeError("--language is for speech models: leave it out")
    runner = open_engine(model, threads=threads, template=template)
    with engine_errors():
        given = runner.prompt([{"role": "user", "content": text}]) if chat else runner.tokens.encode(text)
        if engine == "genai":
            from edgeopt.generate.genai import generate_with_genai

            answer: Answer | None = generate_with_genai(runner, given, options)
        else:
            for piece in runner.stream(given, options, grammar=wanted, speculate=speculate):
                if form == "table":
                    show_piece(piece)
            answer = runner.answered
    if engine == "genai" and answer is not None and form == "table":
        show_piece(answer.text)
    _show(answer, form)


def _refuse(given: Mapping[str, object], why: str) -> None:
    """Refuse options that have a value; `why` says what does not take them."""
    from edgeopt.errors import RecipeError

    names = [name for name, value in given.items() if value]
    if names:
        raise RecipeError(f"{', '.join(names)}: {why}; leave it out")


def _from_source(
    model: Path, source: str, options: Sampling, *, language: str | None, threads: int | None, stream: bool
) -> Answer | None:
    """Generate with an encoder-decoder: a translation, a summary, what is said in a recording."""
    from edgeopt.cli.generation_options import show_piece
    from edgeopt.generate.faults import engine_errors
    from edgeopt.generate.opening import open_encoder_decoder

    runner = open_encoder_decoder(model, threads=threads)
    with engine_errors():
        for piece in runner.stream(source, options, language=language):
            if stream:
                show_piece(piece)
    return runner.answered


def _show(answer: Answer | None, form: str) -> None:
    from edgeopt.cli.generation_options import show_piece, speeds

    if answer is None:
        return
    if form == "json":
        print_json(_values(answer))
        return
    show_piece("\n")
    say(speeds(answer), err=True)


def _values(answer: Answer) -> dict[str, object]:
    return {
        "schema_version": 1,
        **answer.as_json(),
        "first_token_ms": 1e3 * answer.prefill_s,
        "drafted_tokens": answer.drafted,
        "accepted_tokens": answer.accepted,
    }
