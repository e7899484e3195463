"""`edgeopt chat`: talk with a language model on a terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeopt.cli.generation_options import MaxTokens, SamplingSet, Temperature, TemplateFile, Threads
from edgeopt.cli.output import say

if TYPE_CHECKING:
    from edgeopt.generate.conversation import Conversation


def chat(
    model: Annotated[Path, typer.Argument(help="Folder, ONNX file or bundle of a language model.")],
    system: Annotated[
        str | None, typer.Option("--system", help="Say this to the model first, as the system's message.")
    ] = None,
    max_tokens: MaxTokens = 512,
    temperature: Temperature = 0.0,
    template: TemplateFile = None,
    threads: Threads = None,
    changes: SamplingSet = None,
) -> None:
    """Talk with a model: /reset forgets the conversation, Ctrl-C stops a reply, Ctrl-D or /exit ends the chat."""
    from edgeopt.cli.generation_options import keep_bytes_of_stdin, sampling
    from edgeopt.generate.conversation import Conversation
    from edgeopt.generate.opening import open_engine

    options = sampling(changes, max_tokens=max_tokens, temperature=temperature)
    engine = open_engine(model, threads=threads, template=template)
    conversation = Conversation(engine, options, system=system)
    keep_bytes_of_stdin()
    terminal = sys.stdin.isatty()
    if terminal:
        say("/reset forgets the conversation, Ctrl-C stops a reply, Ctrl-D or /exit ends the chat", err=True)
    while True:
        text = _read(terminal=terminal)
        if text is None or text.strip() == "/exit":
            return
        if text.strip() == "/reset":
            conversation.reset()
            say("the conversation is forgotten", err=True)
        elif text.strip():
            _reply(conversation, text)


def _read(*, terminal: bool) -> str | None:
    """Return the user's next line; None at the end, and for Ctrl-C where nothing was asked."""
    try:
        return input("> " if terminal else "")
    except EOFError:
        return None
    except KeyboardInterrupt:
        say(err=True)
        return None


def _reply(conversation: Conversation, text: str) -> None:
    from edgeopt.cli.generation_options import show_piece, speeds
    from edgeopt.errors import UserError

    try:
        for piece in conversation.ask(text):
            show_piece(piece)
    except KeyboardInterrupt:
        conversation.interrupted()
        show_piece(" …")
    except UserError as error:
        say(f"edgeopt: {error}", err=True)
        return
    show_piece("\n")
    if conversation.answered is not None:
        say(speeds(conversation.answered), err=True)
