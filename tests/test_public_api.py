"""The public surface: what `edgeopt.__all__` names, and nothing heavy before it is used."""

from __future__ import annotations

import subprocess
import sys

import edgeopt

PUBLIC = {
    "BundleSpec",
    "CalibrateConfig",
    "DistillOptions",
    "EdgeoptError",
    "ExportConfig",
    "Pipeline",
    "ProfileConfig",
    "PruneOptions",
    "QuantizeConfig",
    "__version__",
    "distill",
    "export",
    "load_model",
    "load_recipe",
    "load_set",
    "load_target",
    "make_calibration_set",
    "open_source",
    "profile",
    "prune",
    "quantize",
    "verify_bundle",
    "write_bundle",
}


def test_the_public_names_are_these() -> None:
    assert set(edgeopt.__all__) == PUBLIC
    for name in PUBLIC:
        assert getattr(edgeopt, name) is not None


def test_stages_can_be_called_whatever_was_imported_before() -> None:
    code = (
        "import edgeopt, edgeopt.quantize.config, edgeopt.profile.config, edgeopt.export.config\n"
        "import edgeopt.distill, edgeopt.prune\n"
        "for name in ('distill', 'prune', 'export', 'quantize', 'profile'):\n"
        "    assert callable(getattr(edgeopt, name)), name\n"
        "print(edgeopt.quantize.QuantizeConfig().ranges)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
