"""`edgeopt init`: a commented recipe for a model and its data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeopt.cli.output import say


def init(
    source: Annotated[str, typer.Argument(help="The model: a folder, module:callable, or an ONNX file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The recipe to write, a .toml file.")],
    data: Annotated[
        str | None, typer.Option("--data", help="Samples; default: random inputs of an ONNX file's shapes.")
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", help="What the model is for; default: what it and the labels say.")
    ] = None,
    tokenizer: Annotated[Path | None, typer.Option("--tokenizer", help="Folder with tokenizer.json, for text.")] = None,
) -> None:
    """Look at a model and its data, and write a commented recipe that runs: edgeopt run FILE.toml."""
    from edgeopt.stages.draft_recipe import draft_recipe

    draft = draft_recipe(source, data, output, task=task, tokenizer=tokenizer)
    for note in draft.notes:
        say(f"note: {note}", err=True)
    say(f"{output}: run it with: edgeopt run {output}")
