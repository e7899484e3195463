"""Perplexity and divergence of quantized folders beside the floating-point one, on windows of a text.

python -m benchmarks.generate.quality TEXT.txt EXACT_FOLDER FOLDER… --windows 24 --length 512
python -m benchmarks.generate.quality TEXT.txt EXACT_FOLDER FOLDER… --windows 0 --part 1/3 --sums sums.json    then 2/3, 3/3

Without a limit (0) all windows are read, in parts where one process would take too long: sums are kept in a file, and each part
prints the table of all parts so far.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from edgeopt.graph import files
from edgeopt.graph.generation import Generation
from edgeopt.quantize.language.text import Reader, Tokens, likelihoods, read_windows, spread


def reader(folder: Path) -> Reader:
    """Open the model in a folder."""
    facts = Generation.beside(folder)
    return Reader(files.load(folder / facts.model), facts)


def sums_of(windows: list[Tokens], exact: Reader, made: dict[str, Reader]) -> dict[str, list[float]]:
    """Return the tokens predicted, and for each model the sums of `likelihoods`."""
    sums = {name: np.zeros(4) for name in made}
    count = 0
    for tokens in windows:
        places = np.arange(len(tokens) - 1, dtype=np.int64)
        known = exact(tokens, places)
        count += len(places)
        for name, model in made.items():
            sums[name] += likelihoods(known, model(tokens, places), tokens[1:])
    return {"tokens": [count], **{name: total.tolist() for name, total in sums.items()}}


def table(sums: dict[str, list[float]]) -> str:
    """Return the sums as a Markdown table."""
    lines = ["| folder | perplexity | against floating point | KL | same first choice |", "|---|---|---|---|---|"]
    (count,) = sums["tokens"]
    for name, total in sums.items():
        if name != "tokens":
            before, after, kl, same = np.array(total) / count
            change = f"{np.exp(before - after) - 1:+.1%} of {np.exp(-before):.2f}"
            lines.append(f"| {name} | {np.exp(-after):.2f} | {change} | {kl:.4f} | {same:.1%} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.generate.quality", description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("exact", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--windows", type=int, default=24, help="0: all")
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--part", default="1/1", help="which of how many parts of the windows")
    parser.add_argument("--sums", type=Path, help="a file that keeps the sums of the parts")
    options = parser.parse_args()
    windows = read_windows(options.text, options.exact, length=options.length)
    chosen = spread(windows, options.windows) if options.windows else windows
    part, parts = map(int, options.part.split("/"))
    own = chosen[part - 1 :: parts]
    kept = json.loads(options.sums.read_text(encoding="utf-8")) if options.sums and options.sums.is_file() else {}
    kept[options.part] = sums_of(own, reader(options.exact), {folder.name: reader(folder) for folder in options.folders})
    if options.sums:
        options.sums.write_text(json.dumps(kept), encoding="utf-8")
    together = {name: np.sum([one[name] for one in kept.values()], axis=0).tolist() for name in kept[options.part]}
    print(f"{', '.join(kept)} of {len(chosen)} windows of {options.length} tokens of {options.text.name}\n\n{table(together)}")


if __name__ == "__main__":
    main()
