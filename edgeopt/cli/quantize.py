"""`edgeopt quantize`: an ONNX file and calibration data in, an int8 ONNX file out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeopt.cli.options import Quiet, Set, TargetName


def quantize(
    model: Annotated[Path, typer.Argument(help="The ONNX file.")],
    calibration: Annotated[str, typer.Option("--calibration", help=".npz, folder of .npy, or a calibration set by name.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The quantized ONNX file.")],
    target: TargetName = "host",
    tokenizer: Annotated[Path | None, typer.Option("--tokenizer", help="Folder with tokenizer.json, for sets of text.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Calibrate with the first so many samples.")] = 128,
    changes: Set = None,
    quiet: Quiet = False,
) -> None:
    """Quantize statically to QDQ int8, with arguments the target's kernels want. Options: --set ranges=percentile."""
    from edgeopt.cli.options import read_calibration, read_options
    from edgeopt.cli.progress_bars import shown
    from edgeopt.quantize import QuantizeConfig
    from edgeopt.quantize import quantize as run
    from edgeopt.targets.target import load_target

    config = read_options(QuantizeConfig, changes)
    loaded_target = load_target(target)
    samples = read_calibration(calibration, tokenizer).first(limit)
    with shown(quiet=quiet):
        facts = run(model, samples.batches(1), target=loaded_target, output=output, config=config).facts
    for warning in facts.warnings:
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(
        f"{output}: {facts.size_bytes_before / 1e6:.2f} → {facts.size_bytes_after / 1e6:.2f} MB, "
        f"{facts.coverage.int8_macs_share:.0%} of the multiply-accumulates in int8 kernels, {facts.samples} samples"
    )
