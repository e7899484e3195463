"""The list of commands; each is in a separate file and imports what it needs when it is called."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from edgeopt import __version__
from edgeopt.cli.bundle import bundle
from edgeopt.cli.calibrate_data import calibrate_data
from edgeopt.cli.chat import chat
from edgeopt.cli.compare import compare
from edgeopt.cli.delta import delta
from edgeopt.cli.deploy import deploy
from edgeopt.cli.diagnose import diagnose
from edgeopt.cli.distill import distill
from edgeopt.cli.evaluate import evaluate
from edgeopt.cli.export import export
from edgeopt.cli.generate import generate
from edgeopt.cli.init import init
from edgeopt.cli.pack import pack, unpack
from edgeopt.cli.profile import profile
from edgeopt.cli.prune import prune
from edgeopt.cli.quantize import quantize
from edgeopt.cli.recipes import recipes
from edgeopt.cli.report import report
from edgeopt.cli.run import run
from edgeopt.cli.scenarios import scenarios
from edgeopt.cli.search import search
from edgeopt.cli.serve import serve
from edgeopt.cli.sweep import sweep
from edgeopt.cli.targets import targets
from edgeopt.cli.train import train
from edgeopt.cli.verify import verify


class StoppedError(Exception):
    """An interrupt (Ctrl-C, SIGINT), past typer, which would end the process without a line."""


class _Commands(TyperGroup):
    """The group of all commands."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was named."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise StoppedError from error


app = typer.Typer(
    cls=_Commands,
    help="From a trained PyTorch model to a small, fast, verified ONNX bundle.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
COMMANDS = (
    init,
    run,
    search,
    train,
    distill,
    prune,
    export,
    calibrate_data,
    quantize,
    evaluate,
    diagnose,
    generate,
    chat,
    serve,
    profile,
    sweep,
    scenarios,
    compare,
    bundle,
    verify,
    deploy,
    delta,
    pack,
    unpack,
    report,
    recipes,
)
for command in COMMANDS:
    app.command()(command)
app.add_typer(targets, name="targets")


def _version(value: bool) -> None:
    if value:
        typer.echo(f"edgeopt {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """From a trained PyTorch model to a small, fast, verified ONNX bundle."""
