"""`edgeopt targets`: list the targets; `edgeopt targets install NAME` installs what one needs."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeopt.cli.options import Format, Quiet
from edgeopt.cli.output import say

targets = typer.Typer(invoke_without_command=True, no_args_is_help=False, rich_markup_mode=None)


@targets.callback()
def list_targets(context: typer.Context, form: Format = "table") -> None:
    """List the targets, whether they can be measured from this machine, and if not, why; or install what one needs."""
    if context.invoked_subcommand is not None:
        return
    from edgeopt.cli.tables import show
    from edgeopt.targets.availability import available
    from edgeopt.targets.target import load_target, target_names

    rows = []
    for name in target_names():
        target = load_target(name)
        here = available(target)
        remarks = [*([] if here.ok else [f"not here: {'; '.join(here.reasons)}"]), *here.notes]
        rows.append(
            {
                "target": name,
                "here": "yes" if here.ok else "no",
                "description": "; ".join([target.description, *remarks]),
            }
        )
    show(rows, form)


@targets.command()
def install(
    name: Annotated[str, typer.Argument(help="Name of the target.")],
    quiet: Quiet = False,
) -> None:
    """Install the environment or emulator that a target needs, from package registries."""
    from edgeopt.cli.progress_bars import shown
    from edgeopt.targets.environments import install as run
    from edgeopt.targets.target import load_target

    target = load_target(name)
    with shown(quiet=quiet):
        made = run(target)
    say(made)
