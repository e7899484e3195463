"""`edgeopt export`: export a PyTorch model to ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeopt.cli.options import Builder, Quiet, Set, TargetName
from edgeopt.cli.output import say, warn

if TYPE_CHECKING:
    from edgeopt.export import ExportResult


def export(
    source: Annotated[str, typer.Argument(help="A saved or transformers folder, hub id, .pt2, timm:NAME, or module:callable.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for model.onnx and its configuration files.")],
    task: Annotated[
        str | None, typer.Option("--task", help="Task of a transformers model, such as text-classification.")
    ] = None,
    target: TargetName = "host",
    opset: Annotated[int | None, typer.Option("--opset", help="Version of the operator set; default: the target's.")] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", help="Real inputs: .npz, folder of .npy, or name of a set; default: the family's own."),
    ] = None,
    dtype: Annotated[
        str | None, typer.Option("--dtype", help="float32, float16 or bfloat16; default: the type of the weights.")
    ] = None,
    shape: Annotated[
        list[str] | None, typer.Option("--shape", metavar="NAME=1x128", help="Fix the shape of an input; may be repeated.")
    ] = None,
    dynamic: Annotated[
        list[str] | None, typer.Option("--dynamic", metavar="AXIS", help="Make height or width dynamic; may be repeated.")
    ] = None,
    layout: Annotated[
        str, typer.Option("--layout", help="edgeopt, or optimum: three files for optimum's sequence-to-sequence classes.")
    ] = "edgeopt",
    builder: Builder = None,
    trust_remote_code: Annotated[bool, typer.Option("--trust-remote-code", help="Allow code from a hub model to run.")] = False,
    changes: Set = None,
    quiet: Quiet = False,
) -> None:
    """Export to ONNX and compare with PyTorch; differing outputs are an error.

    An encoder-decoder becomes two graphs in the folders encoder and decoder.
    """
    from edgeopt.cli.options import read_calibration, read_options
    from edgeopt.cli.progress_bars import shown
    from edgeopt.data.select import limited
    from edgeopt.errors import RecipeError
    from edgeopt.export import ExportConfig, export_for_optimum
    from edgeopt.export import export as run
    from edgeopt.export.halves import export_halves, has_halves
    from edgeopt.models.load import load_model
    from edgeopt.targets.target import load_target

    shapes = dict(_shape(text) for text in shape) if shape else None
    loaded = load_model(source, task=task, source_builder=builder, trust_remote_code=trust_remote_code)
    config = read_options(
        ExportConfig,
        changes,
        opset=opset,
        dtype=dtype,
        task=loaded.task,
        source=Path(source).name,
        shapes=shapes,
        dynamic=dynamic,
    )
    if loaded.folder is not None and (loaded.folder / "config.json").is_file():
        config = config.model_copy(update={"source_folder": loaded.folder})
    samples = limited(read_calibration(data, loaded.folder), 16).batches(1) if data else None
    if layout not in {"edgeopt", "optimum"}:
        raise RecipeError(f"--layout {layout}: must be edgeopt or optimum")
    halves = layout == "edgeopt" and has_halves(loaded.module, config)
    if halves and samples is not None:
        raise RecipeError(f"--data: {config.task} is exported in two halves; name one with --task {config.task}/encoder")
    with shown(quiet=quiet):
        if halves:
            results = export_halves(loaded.module, target=load_target(target), output=output, config=config)
        elif layout == "optimum":
            results = export_for_optimum(loaded.module, target=load_target(target), output=output, config=config)
        else:
            results = [run(loaded.module, samples, target=load_target(target), output=output, config=config)]
    for result in results:
        _show(result)


def _show(result: ExportResult) -> None:
    for warning in result.warnings:
        warn(warning)
    parity = result.parity
    say(
        f"{result.path}: opset {result.opset}, {result.nodes} nodes, {result.size_bytes / 1e6:.2f} MB; "
        f"error {parity.relative_error:.1e} of the output's magnitude, compared with PyTorch (allowed: {parity.tolerance:.0e})"
    )


def _shape(text: str) -> tuple[str, list[int]]:
    """Return the name and the sizes in ``NAME=1x128``."""
    from edgeopt.errors import RecipeError

    name, equals, sizes = text.partition("=")
    if not equals or not all(size.isdecimal() for size in sizes.split("x")):
        raise RecipeError(f"--shape {text}: write NAME=SIZExSIZE, such as input_ids=1x128")
    return name, [int(size) for size in sizes.split("x")]
