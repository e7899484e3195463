"""`edgeopt bundle`: pack an ONNX file into a bundle that verifies itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeopt.cli.options import Quiet, TargetName
from edgeopt.cli.output import say


def bundle(
    model: Annotated[Path, typer.Argument(help="The ONNX file.")],
    data: Annotated[str, typer.Option("--data", help="Golden inputs: a file, a folder or a set.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the bundle.")],
    target: TargetName = "host",
    name: Annotated[str | None, typer.Option("--name", help="Name of the bundle; default: the model's.")] = None,
    task: Annotated[str | None, typer.Option("--task", help="What the model is for; default: the data set's.")] = None,
    tokenizer: Annotated[Path | None, typer.Option("--tokenizer", help="Folder with tokenizer.json, for text.")] = None,
    golden: Annotated[int, typer.Option("--golden", min=1, help="Number of golden samples.")] = 8,
    quiet: Quiet = False,
) -> None:
    """Pack a model with its schema, preprocessing, labels, golden outputs and hashes; preprocessing comes from the data set."""
    from edgeopt.bundle import ArrayInput, BundleSpec, write_bundle
    from edgeopt.cli.options import read_calibration
    from edgeopt.cli.progress_bars import shown
    from edgeopt.data.manifest import load_manifest, manifest_path
    from edgeopt.data.select import limited
    from edgeopt.targets.target import load_target

    manifest = load_manifest(data) if manifest_path(data).is_file() else None
    samples = limited(read_calibration(data, tokenizer, model), golden)
    spec = BundleSpec(
        model=model,
        name=name or model.stem,
        task=task or (manifest.task if manifest else "generic"),
        target=load_target(target).name,
        golden=list(samples.batches(1)),
        preprocessing=manifest.preprocessing if manifest else ArrayInput(),
        labels=tuple(manifest.labels) if manifest else (),
        files={"tokenizer.json": tokenizer / "tokenizer.json"} if tokenizer else {},
    )
    with shown(quiet=quiet):
        result = write_bundle(spec, output=output)
    say(f"{output}: {len(result.files)} files, {result.size_bytes / 1e6:.2f} MB, verified; SHA-256 {result.sha256}")
