"""`edgeopt calibrate-data`: a small, checked calibration set picked out of many samples."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edgeopt.cli.options import Quiet


def calibrate_data(
    model: Annotated[Path, typer.Argument(help="The ONNX file that is to be calibrated.")],
    data: Annotated[str, typer.Option("--data", help="Samples to pick from: a file, a folder, a set (docs/calibration.md).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The set's folder: manifest.toml and samples.")],
    samples: Annotated[int, typer.Option("--samples", "-n", min=1, help="How many to pick.")] = 64,
    choose: Annotated[
        str, typer.Option("--choose", help="coverage (of what the model makes of the samples) or random.")
    ] = "coverage",
    evaluation: Annotated[
        str | None, typer.Option("--evaluation", help="Samples that must not be picked, since they are evaluated on.")
    ] = None,
    tokenizer: Annotated[Path | None, typer.Option("--tokenizer", help="Folder with tokenizer.json, for texts.")] = None,
    origin: Annotated[str, typer.Option("--origin", help="For the manifest: where the data comes from.")] = "",
    licence: Annotated[str, typer.Option("--licence", help="For the manifest: the data's licence.")] = "",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the choice.")] = 0,
    quiet: Quiet = False,
) -> None:
    """Pick samples to calibrate with: checked, spread over labels and activations, with a manifest of what they are.

    A sample that holds NaN or lies out of range is an error; duplicates and samples of --evaluation are left out.
    """
    from edgeopt.cli.options import read_calibration
    from edgeopt.cli.progress_bars import shown
    from edgeopt.data.selection import CalibrateConfig, make_calibration_set
    from edgeopt.data.source import preprocessing_of, set_of

    said: dict[str, Any] = {"origin": origin, "licence": licence}
    manifest = set_of(data)
    if manifest is not None:
        said = {"origin": origin or manifest.origin, "licence": licence or manifest.licence}
        said |= {"task": manifest.task, "labels": manifest.labels, "preprocessing": manifest.preprocessing}
    elif (preprocessing := preprocessing_of(data)) is not None:
        said["preprocessing"] = preprocessing
    config = CalibrateConfig.read({"samples": samples, "choose": choose, "seed": seed, **said}, where="options")
    held_out = read_calibration(evaluation, tokenizer, model) if evaluation else None
    if held_out is None and manifest is not None and "evaluation" in manifest.splits:
        held_out = read_calibration(data, tokenizer, model, split="evaluation")
    with shown(quiet=quiet):
        made = make_calibration_set(
            read_calibration(data, tokenizer, model), output=output, model=model, evaluation=held_out, config=config
        )
    for warning in made.warnings:
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(f"{made.path}: {made.samples} samples, picked from {made.candidates} ({choose})")
