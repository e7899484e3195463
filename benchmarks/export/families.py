"""Write docs/families.md: every family and task, exported from a tiny random model and compared with PyTorch.

    python benchmarks/export/families.py [FAMILY]… [--output docs/families.md]

Without families all are done; with some, the table is printed and nothing is written.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import onnxruntime
import torch
import transformers

from edgeopt.export.proof import Row, prove
from edgeopt.export.registry import FAMILIES, load_family
from edgeopt.targets.target import load_target

_HEADER = """# Families

Written by `make families`; do not edit. Each row is a tiny model with random weights, built from the family's own `tiny`
configuration, exported for target `{target}`, run in onnxruntime at several batch sizes and lengths, with and without
onnxruntime's optimisations, and compared with PyTorch.

{rows} rows, {working} export. torch {torch}, transformers {transformers}, onnxruntime {onnxruntime}.

- *error*: largest difference as a share of the output's largest magnitude; 1e-4 is allowed.
- *Attention*: `Attention` nodes in the graph; a family that computes its scores in another way has none.
- *greedy*: 32 tokens decoded one by one with the cache equal those PyTorch gives without one.
- *seconds*: building, exporting and comparing, on two shared cores; only an order of magnitude.

| family | task | exports | dynamic axes | error | nodes | Attention | greedy | seconds |
|---|---|---|---|---|---|---|---|---|
"""


def line(row: Row) -> str:
    """Return one row of the Markdown table."""
    if not row.exports:
        return f"| {row.family} | {row.task} | no: {row.reason.replace('|', '/')} | | | | | | {row.seconds:.0f} |"
    greedy = {None: "", True: "equal", False: "**differs**"}[row.greedy]
    return (
        f"| {row.family} | {row.task} | yes | {', '.join(row.dynamic)} | {row.relative_error:.1e} | {row.nodes} "
        f"| {row.attention_nodes} | {greedy} | {row.seconds:.0f} |"
    )


def table(rows: list[Row], target: str) -> str:
    """Return the whole page."""
    head = _HEADER.format(
        target=target,
        rows=len(rows),
        working=sum(row.exports for row in rows),
        torch=torch.__version__.split("+")[0],
        transformers=transformers.__version__,
        onnxruntime=onnxruntime.__version__,
    )
    return head + "\n".join(line(row) for row in rows) + "\n"


def prove_all(names: Iterable[str], target: str) -> list[Row]:
    """Prove all tasks of the families called `names`, one line each on stderr."""
    rows = []
    for name in names:
        family = load_family(name)
        for task in family.tasks:
            with tempfile.TemporaryDirectory() as folder:
                rows.append(prove(family, task, target=load_target(target), folder=Path(folder)))
            print(line(rows[-1]), file=sys.stderr, flush=True)
    return rows


def main() -> int:
    """Return 1 if a row fails that has no note in its family."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("families", nargs="*")
    parser.add_argument("--target", default="x86-vnni")
    parser.add_argument("--output", type=Path, default=Path("docs/families.md"))
    arguments = parser.parse_args()
    rows = prove_all(arguments.families or FAMILIES, arguments.target)
    page = table(rows, arguments.target)
    if arguments.families:
        print(page)
    else:
        arguments.output.write_text(page, encoding="utf-8")
    failed = [row for row in rows if not (row.exports and row.greedy is not False)]
    return 1 if any(not load_family(row.family).note for row in failed) else 0


if __name__ == "__main__":
    sys.exit(main())
