"""`edgeopt calibrate-data`: pick a small, checked calibration set from many samples."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edgeopt.cli.options import Quiet
from edgeopt.cli.output import say, warn


def calibrate_data(
    model: Annotated[Path, typer.Argument(help="The ONNX file to be calibrated.")],
    data: Annotated[str, typer.Option("--data", help="Samples to pick from: a file, a folder or a set.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the set: manifest.toml and samples.")],
    samples: Annotated[int, typer.Option("--samples", "-n", min=1, help="Number of samples to pick.")] = 64,
    choose: Annotated[str, typer.Option("--choose", help="coverage (of the model's features) or random.")] = "coverage",
    evaluation: Annotated[
        str | None, typer.Option("--evaluation", help="Evaluation samples, which must not be picked.")
    ] = None,
    tokenizer: Annotated[Path | None, typer.Option("--tokenizer", help="Folder with tokenizer.json, for text.")] = None,
    origin: Annotated[str, typer.Option("--origin", help="Origin of the data, for the manifest.")] = "",
    licence: Annotated[str, typer.Option("--licence", help="Licence of the data, for the manifest.")] = "",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the choice.")] = 0,
    quiet: Quiet = False,
) -> None:
    """Pick calibration samples: checked, spread over labels and features, with a manifest.

    NaN and values out of range are errors; duplicates and samples of --evaluation are left out.
    """
    from edgeopt.cli.options import read_calibration
    from edgeopt.cli.progress_bars import shown
    from edgeopt.data.selection import CalibrateConfig, make_calibration_set
    from edgeopt.data.source import class_names_of, preprocessing_of, set_of

    said: dict[str, Any] = {"origin": origin, "licence": licence}
    manifest = set_of(data)
    if manifest is not None:
        said = {"origin": origin or manifest.origin, "licence": licence or manifest.licence}
        said |= {"task": manifest.task, "labels": manifest.labels, "preprocessing": manifest.preprocessing}
    else:
        said["labels"] = list(read_calibration(data, tokenizer, model).names) or class_names_of(data)
        if (preprocessing := preprocessing_of(data)) is not None:
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
        warn(warning)
    say(f"{made.path}: {made.samples} samples, picked from {made.candidates} ({choose})")
