"""edgeopt: distil, prune, export, quantize, profile and bundle models for the edge.

Everything public is listed in `__all__` and imported when first used: ``import edgeopt`` loads neither torch nor onnxruntime.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeopt.bundle import BundleSpec, verify_bundle, write_bundle
    from edgeopt.data.sets import load_set
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
    "profile",
    "prune",
    "quantize",
    "verify_bundle",
    "write_bundle",
]

_HOMES = {
    "BundleSpec": "bundle.spec",
    "DistillOptions": "distill.config",
    "EdgeoptError": "errors",
    "ExportConfig": "export.config",
    "Pipeline": "pipeline",
    "ProfileConfig": "profile.config",
    "PruneOptions": "prune.config",
    "QuantizeConfig": "quantize.config",
    "distill": "distill.stage",
    "export": "export.stage",
    "load_model": "models.load",
    "load_recipe": "recipe",
    "load_set": "data.sets",
    "load_target": "targets.target",
    "profile": "profile.stage",
    "prune": "prune.stage",
    "quantize": "quantize.stage",
    "verify_bundle": "bundle.verify",
    "write_bundle": "bundle.write",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgeopt' has no attribute '{name}'")
    return getattr(import_module(f"edgeopt.{_HOMES[name]}"), name)
