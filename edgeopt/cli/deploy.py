"""`edgeopt deploy`: make an app of a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeopt.cli.output import say


def deploy(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.")],
    to: Annotated[str, typer.Option("--to", help="python, serve, docker, web, node, linux.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder of the project.")] = None,
) -> None:
    """Write a small complete project around a bundle; its Makefile has the targets setup, test and run."""
    from edgeopt.bundle.deploy import Platform, deploy_bundle, next_commands
    from edgeopt.errors import RecipeError, nearest

    platforms = [platform.value for platform in Platform]
    if to not in platforms:
        raise RecipeError(f"--to {to}{nearest(to, platforms)}: allowed are {', '.join(platforms)}")
    if output is None:
        raise RecipeError(f"--to {to} needs -o DIR, the folder of the project")
    project = deploy_bundle(bundle, Platform(to), output=output)
    say(f"{output}: {len(project.files)} files, a {to} project. Next:")
    for line in next_commands(project):
        say(f"  {line}")
