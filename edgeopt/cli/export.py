"""`edgeopt export`: a PyTorch model in, an ONNX file out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeopt.cli.options import Quiet, Set, TargetName


def export(
    source: Annotated[str, typer.Argument(help="A saved or transformers folder, a hub id, or module:callable.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder for model.onnx and the files beside it.")],
    data: Annotated[str, typer.Option("--data", help="Real inputs: .npz, folder of .npy, or a calibration set by name.")],
    task: Annotated[str | None, typer.Option("--task", help="For transformers models, such as text-classification.")] = None,
    target: TargetName = "x86-vnni",
    opset: Annotated[int | None, typer.Option("--opset", help="Operator set; default: the target's.")] = None,
    changes: Set = None,
    quiet: Quiet = False,
) -> None:
    """Export to ONNX and prove that it computes what PyTorch computes."""
    from edgeopt.cli.options import read_calibration, read_options
    from edgeopt.cli.progress_bars import shown
    from edgeopt.export import ExportConfig
    from edgeopt.export import export as run
    from edgeopt.models.load import load_model
    from edgeopt.targets.target import load_target

    loaded = load_model(source, task=task)
    config = read_options(ExportConfig, changes, opset=opset, task=loaded.task, source=Path(source).name)
    if loaded.folder is not None and (loaded.folder / "config.json").is_file():
        config = config.model_copy(update={"source_folder": loaded.folder})
    samples = read_calibration(data, loaded.folder).first(16)
    with shown(quiet=quiet):
        result = run(loaded.module, samples.batches(1), target=load_target(target), output=output, config=config)
    parity = result.parity
    typer.echo(
        f"{result.path}: opset {result.opset}, {result.nodes} nodes, {result.size_bytes / 1e6:.2f} MB; "
        f"off from PyTorch by {parity.relative_error:.1e} of the output's scale ({parity.tolerance:.0e} allowed)"
    )
