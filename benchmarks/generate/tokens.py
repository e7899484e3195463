"""The engine's tokens beside transformers' on strings of text files: encoded, and decoded again.

python -m benchmarks.generate.tokens FOLDER TEXT.txt… --strings 10000
"""

from __future__ import annotations

import argparse
from pathlib import Path

from edgeopt.generate.engine.tokens import Detokenizer, Tokens


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.generate.tokens", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("texts", type=Path, nargs="+")
    parser.add_argument("--strings", type=int, default=10_000)
    options = parser.parse_args()
    from transformers import AutoTokenizer

    known, own = AutoTokenizer.from_pretrained(options.folder), Tokens(options.folder / "tokenizer.json")
    lines = [line for text in options.texts for line in text.read_text(encoding="utf-8").splitlines() if line.strip()]
    strings = list(dict.fromkeys(lines))
    strings = strings[:: max(1, len(strings) // options.strings)][: options.strings]
    encoded = decoded = streamed = 0
    for text in strings:
        wanted, made = known.encode(text), own.encode(text)
        encoded += made != wanted
        decoded += own.decode(made) != known.decode(wanted, skip_special_tokens=True)
        reader = Detokenizer(own)
        streamed += "".join([*(reader.add(token) for token in made), reader.flush()]) != own.decode(made)
    print(
        f"{len(strings):,} strings: {encoded} encoded otherwise than by transformers, {decoded} decoded otherwise, "
        f"{streamed} streamed otherwise than decoded"
    )


if __name__ == "__main__":
    main()
