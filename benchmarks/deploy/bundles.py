"""Bundles of every kind, as the recipes make them, with so little training that all are there within minutes.

    python -m benchmarks.deploy.bundles --work build/deploy-test [--only sst2,digits]        (needs EDGEOPT_DATA)

What is compared is whether every platform gives the recorded answers, not how good the answers are.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Made:
    """A bundle: the recipe it comes from, and the options that make the recipe short."""

    recipe: str
    options: tuple[str, ...] = ()


_TRAINED = ("teacher.train.epochs=1", "distill.train.epochs=1")
_FEW = ("data.train_limit=320", "data.evaluation_limit=64", "data.calibration_limit=32")
BUNDLES = {
    "digits": Made("quickstart", (*_TRAINED, "prune.train.epochs=1")),
    "sst2": Made("text-classification", (*_FEW, "distill.train.epochs=1")),
    "ner": Made("token-classification", (*_FEW, *_TRAINED)),
    "yolox": Made("detection", ("data.evaluation_limit=12", "data.calibration_limit=8")),
    "ultraface": Made("face-detection"),
    "spoken-digits": Made("audio-classification", ("data.evaluation_limit=64", *_TRAINED)),
    "embeddings": Made("sentence-embeddings", (*_FEW, "distill.train.epochs=1")),
}
"""By the name that the table gives them."""
_ALWAYS = ("profile.seconds=1", "max_drop_points=100", "verify.max_drop_points=100")


def main() -> int:
    """Write the bundles below WORK/bundles and print their folders."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--work", type=Path, default=Path("build/deploy-test"))
    parser.add_argument("--only", default=",".join(BUNDLES), metavar="NAMES")
    options = parser.parse_args()
    for name in options.only.split(","):
        print(bundle_of(name, options.work), flush=True)
    return 0


def bundle_of(name: str, work: Path) -> Path:
    """Return the folder of a bundle, after the run of its recipe, which makes nothing again that is there.

    Raises:
        SystemExit: the run failed otherwise than by a budget.
    """
    made, run = BUNDLES[name], work / "runs" / name
    changed = [part for option in (*made.options, *_ALWAYS) for part in ("--set", option)]
    command = [sys.executable, "-m", "edgeopt", "run", made.recipe, *changed, "--quiet", "-o", str(run)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1) or not (run / "bundle").is_dir():
        sys.exit(f"{name}: {done.stderr.strip()}")
    place = work / "bundles" / name
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.is_symlink():
        place.symlink_to((run / "bundle").resolve())
    return place


if __name__ == "__main__":
    sys.exit(main())
