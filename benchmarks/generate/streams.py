"""Texts one after the other and as one batch: tokens per second, prompts included, and whether the answers are the same.

python -m benchmarks.generate.streams FOLDER --rows 8 --tokens 48 --rounds 3
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from edgeopt.generate import Sampling, open_engine

_SUBJECTS = ("the sea", "a clock", "iron", "Vienna", "bees", "the moon", "bread", "a river", "snow", "glass", "tea", "maps")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.generate.streams", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=8, choices=range(1, len(_SUBJECTS) + 1), metavar="N")
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    engine = open_engine(options.folder, threads=options.threads)
    sampling = Sampling(max_tokens=options.tokens, ignore_eos=True)
    texts = [f"Write {number + 2} sentences about {subject}." for number, subject in enumerate(_SUBJECTS)][: options.rows]
    prompts = [engine.prompt([{"role": "user", "content": text}]) for text in texts]
    for turn in range(options.rounds + 1):  # the first one is a warm-up: buffers grow
        start = time.perf_counter()
        alone = [engine.generate(prompt, sampling).tokens for prompt in prompts]
        middle = time.perf_counter()
        answers = engine.generate_many([engine.request(prompt, sampling) for prompt in prompts], rows=options.rows)
        end = time.perf_counter()
        made = options.rows * options.tokens
        same = sum(one == answer.tokens for one, answer in zip(alone, answers, strict=True))
        rates = made / (middle - start), made / (end - middle)
        label = "warm-up" if turn == 0 else f"round {turn}"
        print(
            f"{label}: {rates[0]:.0f} tokens/s one after the other, {rates[1]:.0f} as one batch: {rates[1] / rates[0]:.2f} ×, "
            f"{same} of {options.rows} answers the same",
            flush=True,
        )


if __name__ == "__main__":
    main()
