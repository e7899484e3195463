"""`edgeopt sweep`: latency and throughput by threads, batch size and sizes of dynamic axes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeopt.cli.options import Format, Quiet, Set, TargetName
from edgeopt.cli.output import print_json, say, warn

if TYPE_CHECKING:
    from edgeopt.profile.sweeps import SweepPoint


def sweep(
    model: Annotated[Path, typer.Argument(help="The ONNX file.")],
    threads: Annotated[str, typer.Option("--threads", help="Thread counts, such as 1,2,4.")] = "1",
    batch: Annotated[str, typer.Option("--batch", help="Batch sizes, such as 1,8,32.")] = "1",
    axis: Annotated[
        list[str] | None, typer.Option("--axis", metavar="NAME=16,64", help="Sizes of another dynamic axis; may be repeated.")
    ] = None,
    target: TargetName = "host",
    data: Annotated[str | None, typer.Option("--data", help="Real inputs; default: random ones of the model's shapes.")] = None,
    tokenizer: Annotated[Path | None, typer.Option("--tokenizer", help="Folder with tokenizer.json, for text.")] = None,
    seconds: Annotated[float | None, typer.Option("--seconds", help="Time limit of all points together.")] = None,
    changes: Set = None,
    form: Format = "table",
    quiet: Quiet = False,
) -> None:
    """Measure every combination of threads, batch size and axis sizes, interleaved: latency with interval, and throughput."""
    from edgeopt.cli.options import inputs_line, need_format, read_inputs, read_options
    from edgeopt.cli.progress_bars import shown
    from edgeopt.cli.tables import show
    from edgeopt.profile import SweepConfig
    from edgeopt.profile import sweep as run
    from edgeopt.profile.inputs import shapes_of
    from edgeopt.targets.target import load_target

    need_format(form)
    axes = dict(_axis(text) for text in axis or [])
    given = {"threads": _numbers("--threads", threads), "batch_sizes": _numbers("--batch", batch), "axes": axes or None}
    config = read_options(SweepConfig, changes, seconds=seconds, **given)
    loaded_target = load_target(target)
    first = {name: sizes[0] for name, sizes in config.axes.items()}
    inputs = read_inputs(model, data, tokenizer, count=max(config.batch_sizes), sizes=first)
    with shown(quiet=quiet):
        result = run(model, inputs, target=loaded_target, config=config)
    if form == "json":
        print_json(result.facts())
    else:
        show([_row(point) for point in result.points], form)
    say(inputs_line(shapes_of(inputs[:1]), given=data is not None), err=True)
    for warning in result.warnings:
        warn(warning)


def _row(point: SweepPoint) -> dict[str, str]:
    from edgeopt.units import figures

    latency = {item.statistic: f"{item.value_ms:.3f} [{item.low_ms:.3f}, {item.high_ms:.3f}]" for item in point.latency}
    return {
        "threads": str(point.threads),
        "batch": str(point.batch_size),
        **{name: str(size) for name, size in point.sizes.items()},
        "p50 ms": latency.get("p50", "too few runs"),
        "p95 ms": latency.get("p95", "too few runs"),
        "runs": f"{point.n:,}",
        "samples/s": figures(point.throughput_per_s),
    }


def _axis(text: str) -> tuple[str, Sequence[int]]:
    """Return the name and the sizes in ``NAME=16,64``."""
    from edgeopt.errors import RecipeError

    name, equals, sizes = text.partition("=")
    if not equals or not name:
        raise RecipeError(f"--axis {text}: write NAME=SIZE,SIZE, such as sequence=16,64")
    return name, _numbers(f"--axis {name}", sizes)


def _numbers(option: str, text: str) -> Sequence[int]:
    """Return the positive integers in ``1,2,4``."""
    from edgeopt.errors import RecipeError

    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise RecipeError(f"{option} {text}: write whole numbers above 0 with commas between, such as 1,2,4")
    return [int(part) for part in parts]
