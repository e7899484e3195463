"""`edgeopt deploy`: make an app of a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeopt.cli.output import say


def deploy(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle, or a packed one (.tar.zst, .zip).")],
    to: Annotated[str, typer.Option("--to", help="python, serve, docker, cpp, web, node, android, linux; or oci.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder of the project.")] = None,
    push: Annotated[
        str | None, typer.Option("--push", help="With --to oci: where to, such as 127.0.0.1:5000/name:tag.")
    ] = None,
) -> None:
    """Write a small complete project around a bundle; its Makefile has the targets setup, test and run."""
    from edgeopt.bundle.deploy import Platform, deploy_bundle, next_commands
    from edgeopt.bundle.pack import unpacked
    from edgeopt.errors import RecipeError, nearest

    if to == "oci":
        from edgeopt.bundle.oci import push_bundle

        if push is None:
            raise RecipeError("--to oci needs --push REF, such as 127.0.0.1:5000/name:tag")
        if output is not None:
            raise RecipeError("-o is for projects: --to oci pushes to --push REF; leave it out")
        with unpacked(bundle) as folder:
            say(f"{bundle}: pushed to {push_bundle(folder, push)}. Next:")
        say(f"  edgeopt unpack oci:{push} -o {bundle.name.removesuffix('.zip').removesuffix('.tar.zst')}")
        return
    platforms = [platform.value for platform in Platform]
    if to not in platforms:
        raise RecipeError(f"--to {to}{nearest(to, platforms)}: allowed are {', '.join(platforms)} and oci")
    if push is not None:
        raise RecipeError(f"--push is for --to oci, not for --to {to}; leave it out")
    if output is None:
        raise RecipeError(f"--to {to} needs -o DIR, the folder of the project")
    with unpacked(bundle) as folder:
        project = deploy_bundle(folder, Platform(to), output=output)
    say(f"{output}: {len(project.files)} files, a {to} project. Next:")
    for line in next_commands(project):
        say(f"  {line}")
