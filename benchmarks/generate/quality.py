"""Perplexity and divergence of quantized folders beside the floating-point one, on windows of a text.

python -m benchmarks.generate.quality TEXT.txt EXACT_FOLDER FOLDER… --windows 24 --length 512
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from edgeopt.graph import files
from edgeopt.graph.generation import Generation
from edgeopt.quantize.language.text import Reader, likelihoods, read_windows, spread


def reader(folder: Path) -> Reader:
    """Open the model in a folder."""
    facts = Generation.beside(folder)
    return Reader(files.load(folder / facts.model), facts)


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.generate.quality", description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("exact", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--windows", type=int, default=24)
    parser.add_argument("--length", type=int, default=512)
    options = parser.parse_args()
    windows = spread(read_windows(options.text, options.exact, length=options.length), options.windows)
    exact, made = reader(options.exact), {folder.name: reader(folder) for folder in options.folders}
    sums = {name: np.zeros(4) for name in made}
    places, count = np.arange(options.length - 1, dtype=np.int64), 0
    for tokens in windows:
        known = exact(tokens, places)
        count += len(places)
        for name, model in made.items():
            sums[name] += likelihoods(known, model(tokens, places), tokens[1:])
    print(f"{len(windows)} windows of {options.length} tokens of {options.text.name}\n")
    print("| folder | perplexity | against floating point | KL | same first choice |\n|---|---|---|---|---|")
    for name, total in sums.items():
        before, after, kl, same = total / count
        change = f"{np.exp(before - after) - 1:+.1%} of {np.exp(-before):.2f}"
        print(f"| {name} | {np.exp(-after):.2f} | {change} | {kl:.4f} | {same:.1%} |")


if __name__ == "__main__":
    main()
