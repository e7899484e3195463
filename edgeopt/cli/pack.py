"""`edgeopt pack` and `edgeopt unpack`: a bundle as one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeopt.cli.output import say


def pack(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File: NAME.tar.zst or NAME.zip.")],
) -> None:
    """Pack a bundle into one file, with the same bytes for the same bundle."""
    from edgeopt.bundle.pack import pack_bundle

    pack_bundle(bundle, output)
    say(f"{output}: {output.stat().st_size / 1e6:.2f} MB")


def unpack(
    source: Annotated[str, typer.Argument(help="File (.tar.zst, .zip), or oci:REF of a registry.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the bundle; must not exist.")],
) -> None:
    """Unpack a packed bundle, or pull one from a registry; nothing outside the folder is written."""
    from edgeopt.bundle.oci import pull_bundle
    from edgeopt.bundle.pack import unpack_bundle

    if source.startswith("oci:"):
        pull_bundle(source.removeprefix("oci:"), output)
    else:
        unpack_bundle(Path(source), output)
    say(f"{output}: unpacked; check it with: edgeopt verify {output}")
