"""`edgeopt delta`: the difference between two bundles, written or applied."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeopt.cli.output import say


def delta(
    old: Annotated[Path, typer.Argument(help="The bundle that the device has.")],
    new: Annotated[Path, typer.Argument(help="The bundle that it shall have; with --apply, the delta.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File of the delta; with --apply, folder of the new bundle.")],
    apply: Annotated[bool, typer.Option("--apply", help="Make the new bundle out of the old one and a delta.")] = False,
) -> None:
    """Write what turns one bundle into another: the parts that changed, compressed; every part is checked by its hash."""
    from edgeopt.bundle.delta import apply_delta, write_delta
    from edgeopt.bundle.pack import unpacked

    with unpacked(old) as before:
        if apply:
            apply_delta(before, new, output)
            say(f"{output}: the new bundle, every part with its SHA-256")
            return
        with unpacked(new) as after:
            made = write_delta(before, after, output)
    share = 100 * made.delta_bytes / max(1, made.new_bytes)
    sizes = f"{made.delta_bytes / 1e6:.2f} MB instead of {made.new_bytes / 1e6:.2f} MB ({share:.0f} %)"
    say(f"{output}: {sizes}, {made.compressed_bytes / 1e6:.2f} MB compressed without the old bundle; "
        f"{made.sent} of {made.parts} parts are new")  # fmt: skip
