#!/usr/bin/env python3
"""Talk with the language model in this folder. Needs onnxruntime, numpy, tokenizers and jinja2; nothing else.

    python chat.py                         a conversation; Ctrl-C stops a reply, Ctrl-D or /exit ends it, /reset forgets it
    python chat.py "Once upon a time"      the answer to one message; --raw continues the text instead
    python chat.py "…" --json              tokens, text and speeds

The folder ``engine`` beside this file is what generates: copy both into a program of your own.

    from engine.engine import Engine
    from engine.sampling import Sampling
    engine = Engine.open(Path("."))
    for piece in engine.stream(engine.prompt([{"role": "user", "content": "Hello"}]), Sampling(max_tokens=64)):
        print(piece, end="", flush=True)
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True  # a bundle holds its recorded files and no others

from engine.engine import Engine
from engine.errors import EngineError
from engine.memory import peak_rss_bytes
from engine.sampling import Sampling


def main() -> int:
    """Answer one message or hold a conversation; return the exit status."""
    parser = argparse.ArgumentParser(description="Talk with the language model in this folder.")
    parser.add_argument("message", nargs="?", help="one message; without it: a conversation")
    parser.add_argument("--raw", action="store_true", help="continue the text, without the chat template")
    parser.add_argument("--system", help="the system's message")
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--temperature", type=float, default=0.0, help="0: always the most likely token")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", action="store_true", help="print tokens, text and speeds as JSON")
    given = parser.parse_args()
    try:
        options = Sampling(temperature=given.temperature, max_tokens=given.max_tokens, seed=given.seed)
        engine = Engine.open(HERE, threads=given.threads)
        first = [{"role": "system", "content": given.system}] if given.system else []
        if given.message is not None:
            asked = [*first, {"role": "user", "content": given.message}]
            return answer(engine, given.message if given.raw else engine.prompt(asked), options, as_json=given.json)
        return talk(engine, first, options)
    except EngineError as error:
        print(f"chat: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader has gone, as with | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def answer(engine: Engine, prompt: str | list[int], options: Sampling, *, as_json: bool) -> int:
    """Print the answer to one prompt."""
    for piece in engine.stream(prompt, options):
        if not as_json:
            print(piece, end="", flush=True)
    made = engine.answered
    if made is None:
        return 1
    if as_json:
        print(json.dumps({**made.as_json(), "peak_rss_bytes": peak_rss_bytes()}))
    else:
        print()
    return 0


def talk(engine: Engine, first: list[dict[str, str]], options: Sampling) -> int:
    """Hold a conversation until the input ends."""
    messages = list(first)
    if hasattr(sys.stdin, "reconfigure"):
        sys.stdin.reconfigure(errors="surrogateescape")  # what is not UTF-8 is refused by the tokenizer, in one line
    while True:
        try:
            text = input("> " if sys.stdin.isatty() else "").strip()
        except (EOFError, KeyboardInterrupt):
            print()
            return 0
        if text == "/exit":
            return 0
        if text == "/reset":
            messages = list(first)
        elif text:
            reply(engine, messages, text, options)


def reply(engine: Engine, messages: list[dict[str, str]], text: str, options: Sampling) -> None:
    """Print the reply to `text` and append both to `messages`."""
    messages.append({"role": "user", "content": text})
    said = ""
    try:
        pieces = engine.stream(engine.prompt(messages), options)
        try:
            for piece in pieces:
                said += piece
                print(piece, end="", flush=True)
        except KeyboardInterrupt:
            pieces.close()
            print(" …", end="")
    except EngineError as error:
        messages.pop()
        print(f"chat: {error}", file=sys.stderr)
        return
    messages.append({"role": "assistant", "content": said})
    print()
    made = engine.answered
    if made is not None:
        speed = f"{len(made.tokens)} tokens, {made.decode_tokens_per_s:.1f} tokens/s"
        print(f"[{speed}, first after {1e3 * made.prefill_s:.0f} ms]", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
