#!/usr/bin/env python3
"""Answer a text, or write down a recording, with the model in this folder. Needs onnxruntime, numpy and tokenizers alone.

    python generate.py "A sentence"        the translation, the summary, the answer
    python generate.py speech.wav          what is said, where the model hears
    python generate.py "…" --json          tokens, text and speeds

The folder ``engine`` beside this file is what generates: copy both into a program of your own.

    from engine.encoder_decoder import EncoderDecoder
    print(EncoderDecoder(Path(".")).generate("A sentence").text)
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

from engine.encoder_decoder import EncoderDecoder
from engine.errors import EngineError
from engine.memory import peak_rss_bytes
from engine.sampling import Sampling


def main() -> int:
    """Answer one source; return the exit status."""
    parser = argparse.ArgumentParser(description="Answer a text, or write down a recording, with the model in this folder.")
    parser.add_argument("source", help="a text, or a .wav file where the model hears")
    parser.add_argument("--language", help="language of speech, such as en; default: recognised")
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--temperature", type=float, default=0.0, help="0: always the most likely token")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", action="store_true", help="print tokens, text and speeds as JSON")
    given = parser.parse_args()
    try:
        options = Sampling(temperature=given.temperature, max_tokens=given.max_tokens, seed=given.seed)
        model = EncoderDecoder(HERE, threads=given.threads)
        for piece in model.stream(given.source, options, language=given.language):
            if not given.json:
                print(piece, end="", flush=True)
    except EngineError as error:
        print(f"generate: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader has gone, as with | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    made = model.answered
    if made is None:
        return 1
    if not given.json:
        print()
        return 0
    print(json.dumps({**made.as_json(), "peak_rss_bytes": peak_rss_bytes()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
