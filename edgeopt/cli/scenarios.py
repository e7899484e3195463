"""`edgeopt scenarios`: throughput and tail latency under the load patterns of MLPerf Inference."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeopt.cli.options import Format, Quiet, Set, TargetName
from edgeopt.cli.output import print_json, say, warn

if TYPE_CHECKING:
    from edgeopt.profile.scenarios import ScenarioFigure


def scenarios(
    model: Annotated[Path, typer.Argument(help="The ONNX file.")],
    only: Annotated[
        list[str] | None,
        typer.Option("--scenario", help="single-stream, multi-stream, offline or server; may be repeated."),
    ] = None,
    server_latency_ms: Annotated[
        float | None, typer.Option("--server-latency-ms", help="Latency that 99 % of the server's queries must meet.")
    ] = None,
    target: TargetName = "host",
    data: Annotated[str | None, typer.Option("--data", help="Real inputs; default: random ones of the model's shapes.")] = None,
    tokenizer: Annotated[Path | None, typer.Option("--tokenizer", help="Folder with tokenizer.json, for text.")] = None,
    seconds: Annotated[float | None, typer.Option("--seconds", help="Time limit of all scenarios together.")] = None,
    changes: Set = None,
    form: Format = "table",
    quiet: Quiet = False,
) -> None:
    """Measure MLPerf's load patterns, each with its own metric; this is not an MLPerf submission."""
    from edgeopt.cli.options import inputs_line, need_format, read_inputs, read_options
    from edgeopt.cli.progress_bars import shown
    from edgeopt.cli.tables import show
    from edgeopt.profile import ScenarioConfig, measure_scenarios
    from edgeopt.profile.inputs import shapes_of
    from edgeopt.targets.target import load_target

    need_format(form)
    given = {"scenarios": only or None, "server_latency_ms": server_latency_ms, "seconds": seconds}
    config = read_options(ScenarioConfig, changes, **given)
    loaded_target = load_target(target)
    inputs = read_inputs(model, data, tokenizer, count=8)
    with shown(quiet=quiet):
        result = measure_scenarios(model, inputs, target=loaded_target, config=config)
    if form == "json":
        print_json(result.facts())
    else:
        show([_row(figure) for figure in result.figures], form)
    say(inputs_line(shapes_of(inputs[:1]), given=data is not None), err=True)
    for warning in result.warnings:
        warn(warning)


def _row(figure: ScenarioFigure) -> dict[str, str]:
    from edgeopt.units import figures

    missing = f"needs {figure.needs_queries:,} queries" if figure.queries < figure.needs_queries else "no rate meets the bound"
    return {
        "scenario": figure.scenario,
        "metric": figure.metric,
        "value": missing if figure.value is None else figures(figure.value),
        "queries": f"{figure.queries:,}",
        "samples per query": str(figure.samples_per_query),
        "samples/s": "–" if figure.samples_per_s is None else figures(figure.samples_per_s),
        "query": figure.how,
    }
