"""What `generate` and `chat` share: sampling options, and text that a model wrote on a terminal."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeopt.escaping import printable
from edgeopt.machine import MOST_THREADS

if TYPE_CHECKING:
    from edgeopt.generate.engine.constraint import Grammar
    from edgeopt.generate.engine.sampling import Sampling
    from edgeopt.generate.engine.stream import Answer

MaxTokens = Annotated[int, typer.Option("--max-tokens", min=1, help="End after this many tokens.")]
Temperature = Annotated[float, typer.Option("--temperature", min=0.0, help="0: greedy; larger: less likely tokens more often.")]
Threads = Annotated[
    int | None,
    typer.Option("--threads", min=1, max=MOST_THREADS, help="Threads of onnxruntime; default: one per core."),
]
TemplateFile = Annotated[Path | None, typer.Option("--template", help="File with a chat template, instead of the model's own.")]
SamplingSet = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Another sampling option, such as top_p=0.9 or seed=1; may be repeated."),
]


def sampling(changes: list[str] | None, **given: Any) -> Sampling:
    """Return the sampling options from ``KEY=VALUE`` texts and from the arguments in `given`."""
    from edgeopt.generate.opening import read_sampling
    from edgeopt.recipe import apply_change

    values: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    for change in changes or []:
        apply_change(values, change)
    return read_sampling(values)


def grammar(schema: Path | None, lark: Path | None) -> Grammar | None:
    """Return the form that the answer must have, from a file with a JSON schema or with a grammar."""
    from edgeopt.documents import read_text
    from edgeopt.errors import DataError, RecipeError
    from edgeopt.extras import need
    from edgeopt.generate.engine.constraint import Grammar

    file = schema or lark
    if file is None:
        return None
    if schema is not None and lark is not None:
        raise RecipeError("--schema and --grammar: give one of them")
    need("llguidance", purpose="an answer of a given form")
    text = read_text(file, error=DataError, what="a schema or a grammar")
    return Grammar("json_schema" if schema is not None else "lark", text)


def keep_bytes_of_stdin() -> None:
    """Let stdin pass on bytes that are not UTF-8 as halves of characters, which the tokenizer refuses in one line."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")


def read_stdin() -> str:
    """Return all of stdin."""
    keep_bytes_of_stdin()
    return sys.stdin.read()


def show_piece(piece: str) -> None:
    """Print a piece of a model's text: line ends and tabs as they are, nothing else that a terminal would obey."""
    sys.stdout.write(printable(piece, keep="\n\t"))
    sys.stdout.flush()


def speeds(answer: Answer) -> str:
    """Return a line about how fast an answer was."""
    reused = f" ({answer.reused_tokens} from the cache)" if answer.reused_tokens else ""
    drafts = f"; {answer.accepted} of {answer.drafted} guessed tokens were right" if answer.drafted else ""
    return (
        f"{answer.prompt_tokens} tokens of prompt{reused}, first token after {1e3 * answer.prefill_s:.0f} ms "
        f"({answer.prefill_tokens_per_s:.0f} tokens/s); {len(answer.tokens)} tokens of answer, "
        f"{answer.decode_tokens_per_s:.1f} tokens/s{drafts}"
    )
