"""edgeopt: distil, prune, export, quantize, profile and bundle models for the edge.

Everything public is listed in `__all__` and imported when first used: ``import edgeopt`` loads neither torch nor onnxruntime.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeopt._lazy import offer

if TYPE_CHECKING:
    from edgeopt.bundle import BundleSpec, verify_bundle, write_bundle
    from edgeopt.data.selection.stage import CalibrateConfig, make_calibration_set
    from edgeopt.data.sets import load_set
    from edgeopt.data.source import open_source
    from edgeopt.distill.config import DistillOptions
    from edgeopt.distill.stage import distill
    from edgeopt.errors import EdgeoptError
    from edgeopt.export import ExportConfig, export
    from edgeopt.models.load import load_model
    from edgeopt.pipeline import Pipeline
    from edgeopt.profile import ProfileConfig, profile
    from edgeopt.prune.config import PruneOptions
    from edgeopt.prune.stage import prune
    from edgeopt.quantize import QuantizeConfig, quantize
    from edgeopt.recipe import load_recipe
    from edgeopt.targets.target import load_target

__version__ = "0.1.0"

__all__ = [
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
]

if not TYPE_CHECKING:
    __getattr__ = offer(
        __name__,
        {
            "BundleSpec": "bundle.spec",
            "CalibrateConfig": "data.selection.stage",
            "DistillOptions": "distill.config",
            "EdgeoptError": "errors",
            "ExportConfig": "export.config",
            "Pipeline": "pipeline",
            "ProfileConfig": "profile.config",
            "PruneOptions": "prune.config",
            "QuantizeConfig": "quantize.config",
            "load_model": "models.load",
            "load_recipe": "recipe",
            "load_set": "data.sets",
            "load_target": "targets.target",
            "make_calibration_set": "data.selection.stage",
            "open_source": "data.source",
            "verify_bundle": "bundle.verify",
            "write_bundle": "bundle.write",
            "distill": "",
            "export": "",
            "profile": "",
            "prune": "",
            "quantize": "",
        },
    )
