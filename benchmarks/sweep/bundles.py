"""Bundles for the sweep of readers: damaged, their hashes made to fit again, and verified as a device does."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np

_SECONDS = 20.0  # for a model in a process of its own


def bundle_files(folder: Path, model: bytes) -> dict[str, bytes]:
    """Return the files of a bundle of `model`, made in `folder`."""
    from edgeopt.bundle import BundleSpec, write_bundle

    (folder / "bundled.onnx").write_bytes(model)
    golden = [{"x": np.full((1, 4), number, np.float32)} for number in range(2)]
    spec = BundleSpec(model=folder / "bundled.onnx", name="b", task="t", target="x86-vnni", golden=golden, recipe_toml="")
    made = folder / "bundle-seed"
    write_bundle(spec, output=made)
    return {str(file.relative_to(made)): file.read_bytes() for file in sorted(made.rglob("*")) if file.is_file()}


def resealed(folder: Path) -> None:
    """Give a changed bundle hashes that fit, as a forger would, so that what is behind them is looked at."""
    from edgeopt.bundle.verify import device_verify
    from edgeopt.device_code import inference

    code, manifest = device_verify(), folder / "bundle.json"
    with contextlib.suppress(Exception):
        values = json.loads(manifest.read_text(encoding="utf-8"))
        for entry in values["files"]:
            entry["sha256"] = code.sha256(str(folder / entry["path"]))
            entry["size_bytes"] = (folder / entry["path"]).stat().st_size
        if values.get("origins"):
            values["origins"][-1]["sha256"] = code.sha256(str(folder / "model.onnx"))
            values["origins"] = inference("provenance").chained(values["origins"])
        manifest.write_text(json.dumps(values), encoding="utf-8")
        (folder / "SHA256SUMS").write_text(code.sums_text(code.sha256(str(manifest)), values["files"]), encoding="utf-8")


def read_bundle(path: Path) -> object:
    """Verify the bundle as a device does; a model's file in a process of its own, since onnxruntime may crash on it."""
    from edgeopt.bundle import verify_bundle

    folder = next(parent for parent in path.parents if parent.name == "bundle")
    resealed(folder)
    report = verify_bundle(folder, time_limit_s=_SECONDS if path.suffix == ".onnx" else None)
    wrong = [check.detail for check in report.checks if "Traceback" in check.detail or "\n" in check.detail]
    if wrong:
        raise AssertionError(wrong[0])
    return report
