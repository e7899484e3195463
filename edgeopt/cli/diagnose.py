"""`edgeopt diagnose`: find the first step at which a quantized model loses accuracy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeopt.cli.options import Format, Quiet
from edgeopt.cli.output import say_to_copy

if TYPE_CHECKING:
    from edgeopt.quantize.inspect.diagnosis import Step


def diagnose(
    model: Annotated[Path, typer.Argument(help="The floating-point ONNX file.")],
    quantized: Annotated[Path, typer.Argument(help="The QDQ file made from it.")],
    data: Annotated[str, typer.Option("--data", help="Samples: a file, a folder or a set.")],
    source: Annotated[str | None, typer.Option("--source", help="PyTorch model that the ONNX file was exported from.")] = None,
    target: Annotated[str | None, typer.Option("--target", "-t", help="Also run on this target's provider.")] = None,
    tokenizer: Annotated[Path | None, typer.Option("--tokenizer", help="Folder with tokenizer.json, for text.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Use at most this many samples.")] = 4,
    form: Format = "table",
    quiet: Quiet = False,
) -> None:
    """Compare torch, ONNX, QDQ, optimised QDQ and the target's provider step by step; the exit code is 1 if a step fails.

    Names the first bad tensor and the node to leave in floating point.
    """
    from edgeopt.cli.options import need_format, read_calibration
    from edgeopt.cli.progress_bars import shown
    from edgeopt.cli.tables import show
    from edgeopt.data.select import limited
    from edgeopt.quantize.inspect.diagnosis import diagnose as run
    from edgeopt.quantize.inspect.diagnosis import first_fault
    from edgeopt.targets.target import load_target

    need_format(form)
    batches = list(limited(read_calibration(data, tokenizer, model), limit).batches(1))
    steps: list[Step] = []
    with shown(quiet=quiet):
        if source is not None:
            from edgeopt.models.load import load_model
            from edgeopt.quantize.inspect.torch_modules import diagnose_export

            steps.append(diagnose_export(load_model(source).module, model, batches))
        steps += run(model, quantized, batches, target=load_target(target) if target else None)
    show([_row(step) for step in steps], form)
    if form == "table":
        for proposal in dict.fromkeys(step.proposal for step in steps if step.proposal.startswith("--exclude")):
            say_to_copy("to leave what is at fault in floating point, add to edgeopt quantize", proposal)
    raise typer.Exit(1 if first_fault(steps) else 0)


def _row(step: Step) -> dict[str, str]:
    return {
        "step": step.name,
        "outputs": f"{step.output_db:.1f} dB",
        "wanted": f"{step.limit_db:g} dB",
        "verdict": "fine" if step.ok else "at fault",
        "first bad tensor": "" if step.tensor is None else f"{step.tensor} ({step.tensor_db:.1f} dB)",
        "try": step.proposal,
    }
