"""Sizes of updates between bundles: ours, bsdiff's, and the new bundle compressed without the old one; a Markdown table.

    python -m benchmarks.deploy.deltas OLD NEW [OLD NEW …]      needs the package bsdiff4

bsdiff gets both bundles as one file each (all files, one after the other). It needs about 17 times the old size as memory, so
that bundles of more than 100 MB are left out.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from edgeopt.bundle.delta import write_delta

_MOST_BYTES = 100 << 20


def main() -> int:
    """Print one row for each pair."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("bundles", nargs="+", type=Path)
    options = parser.parse_args()
    pairs = zip(options.bundles[::2], options.bundles[1::2], strict=True)
    print("| from | to | new, MB | compressed alone | edgeopt delta | s | bsdiff | s |\n|---|---|---|---|---|---|---|---|")
    for old, new in pairs:
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            made = write_delta(old, new, Path(folder) / "delta")
            took = time.perf_counter() - start
        theirs = bsdiff(old, new)
        sizes = [made.new_bytes, made.compressed_bytes, made.delta_bytes]
        cells = [old.name, new.name, *(f"{size / 1e6:.3f}" for size in sizes), f"{took:.1f}", *theirs]
        print(f"| {' | '.join(cells)} |", flush=True)
    return 0


def bsdiff(old: Path, new: Path) -> tuple[str, str]:
    """Return size in MB and seconds of bsdiff's patch, as text."""
    import bsdiff4

    before, after = joined(old), joined(new)
    if max(len(before), len(after)) > _MOST_BYTES:
        return "too large", ""
    start = time.perf_counter()
    patch = bsdiff4.diff(before, after)
    return f"{len(patch) / 1e6:.3f}", f"{time.perf_counter() - start:.1f}"


def joined(folder: Path) -> bytes:
    """Return all files of a bundle, one after the other."""
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


if __name__ == "__main__":
    raise SystemExit(main())
